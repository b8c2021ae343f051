//! The list of what a tree holds. (Being built.)
