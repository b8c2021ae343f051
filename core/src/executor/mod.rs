//! The executor machine: publishes tasks, runs tasks, serves and fetches files.

mod notice;

pub use notice::{
    Ending, ExecutorCommand, ExecutorNotice, FileStep, InputFile, OutputFile, PublishError, TaskSpec,
    TaskStep,
};
