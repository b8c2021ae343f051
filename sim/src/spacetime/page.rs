//! The page: one HTML file that needs no network and nothing beside it.

use super::Story;
use core::fmt::Write as _;

const HTML: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const JS: [&str; 4] = [
    include_str!("page/model.js"),
    include_str!("page/draw.js"),
    include_str!("page/panel.js"),
    include_str!("page/main.js"),
];

/// The page of a story.
pub fn page(story: &Story) -> String {
    // Strings and numbers alone: nothing of it can fail.
    let data = serde_json::to_string(story).unwrap_or_default();
    let title = escaped(&story.title);
    let js = JS.concat();
    let mut page = String::with_capacity(HTML.len() + CSS.len() + js.len() + data.len() + (data.len() >> 4));
    // What is put in is never looked through for further places.
    let mut rest = HTML;
    while let Some((before, behind)) = rest.split_once("{{") {
        page.push_str(before);
        let (name, behind) = behind.split_once("}}").unwrap_or((behind, ""));
        match name {
            "title" => page.push_str(&title),
            "css" => page.push_str(CSS),
            "js" => page.push_str(&js),
            "data" => push_data(&mut page, &data),
            _ => {}
        }
        rest = behind;
    }
    page.push_str(rest);
    page
}

/// JSON that can stand within a script: nothing in it can end that, or begin a comment. Such letters are in strings alone.
fn push_data(page: &mut String, json: &str) {
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing into a string cannot fail.
                let _ = write!(page, "\\u{:04x}", u32::from(letter));
            }
            other => page.push(other),
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spacetime::merge::{Happened, Lane};

    #[test]
    fn nothing_that_a_peer_says_breaks_out_of_its_place() {
        let evil = "</script><script>alert(1)</script><!-- {{js}} \u{2028} &amp; \"'";
        let lane = Lane { name: evil.to_owned(), ..Lane::default() };
        let event = Happened { say: evil.to_owned(), class: "remark", ..Happened::default() };
        let story =
            Story { title: evil.to_owned(), lanes: vec![lane], events: vec![event], ..Story::default() };
        let page = page(&story);
        // The data, the program; no third script, and no comment.
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<!--"));
        assert!(page.contains("<title>&lt;/script&gt;&lt;script&gt;alert(1)"));
        let begin = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
        let data = &page[begin..begin + page[begin..].find("</script>").unwrap()];
        assert!(!data.contains(['<', '>', '&', '\u{2028}']));
        let read: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(read["lanes"][0]["name"], evil);
        assert_eq!(read["events"][0]["s"], evil);
    }

    #[test]
    fn the_page_asks_for_nothing() {
        let page = page(&Story::default());
        for word in ["http://", "https://", " src=", "@import", "url(", "innerHTML", "fetch("] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(!page.contains("{{"));
    }
}
