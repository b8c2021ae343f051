//! `xxnet nodes`: who is registered.

use super::Common;
use super::args::RegArgs;
use super::ask::{ask, print, seconds, wrong_answer};
use super::errors::{Outcome, exit};
use super::keys::hex;
use super::style::{Style, Tone};
use super::table::{Table, span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use xxnet_core::InstanceId;
use xxnet_core::message::{NodeRow, Question, Reply};
use xxnet_core::needs::Label;

/// The options of `xxnet nodes`.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::cli::help::NODES)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    reg: RegArgs,
    /// As JSON, with field names that stay
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub(crate) fn nodes(common: &Common, args: &NodesArgs) -> Outcome<u8> {
    let Reply::Nodes(rows) = ask(common, &args.reg, &Question::Nodes)? else {
        return Err(wrong_answer());
    };
    let Reply::Labels(labels) = ask(common, &args.reg, &Question::Labels)? else {
        return Err(wrong_answer());
    };
    let labels = labels.into_iter().collect();
    print(&if args.json {
        format!("{:#}\n", as_json(&rows, &labels))
    } else {
        as_text(&rows, &labels, Style::stdout())
    })?;
    Ok(exit::OK)
}

fn role(row: &NodeRow) -> &'static str {
    if row.client { "client" } else { "executor" }
}

type Labels = BTreeMap<InstanceId, Vec<Label>>;

/// As they are written: `gpu os=linux`.
fn written(labels: &Labels, node: InstanceId) -> Vec<String> {
    let written = |(name, value): &Label| match value.is_empty() {
        true => name.clone(),
        false => format!("{name}={value}"),
    };
    labels.get(&node).into_iter().flatten().map(written).collect()
}

fn as_json(rows: &[NodeRow], labels: &Labels) -> Value {
    let nodes: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "instance": hex(&row.instance.0),
                "role": role(row),
                "address": row.address.to_string(),
                "slots": row.slots,
                "running": row.running,
                "proposed": row.proposed,
                "state": if row.suspect { "silent" } else { "ready" },
                "silent_seconds": seconds(row.silent),
                "labels": written(labels, row.instance),
            })
        })
        .collect();
    json!({ "nodes": nodes })
}

fn as_text(rows: &[NodeRow], labels: &Labels, style: Style) -> String {
    if rows.is_empty() {
        return "no nodes; start an executor with `xxnet exe --reg ADDR`\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "ROLE", "ADDRESS", "SLOTS", "RUNNING", "STATE", "LABELS"]);
    for row in rows {
        let (tone, state) = match (row.suspect, row.client) {
            (true, _) => (Tone::Warn, format!("silent for {}", span(row.silent))),
            (false, true) => (Tone::Dim, "ready".to_owned()),
            (false, false) => (Tone::Plain, "ready".to_owned()),
        };
        let (slots, running) = if row.client {
            ("-".into(), "-".into())
        } else {
            (row.slots.to_string(), row.running.to_string())
        };
        table.row(
            tone,
            [
                row.name.clone(),
                role(row).to_owned(),
                row.address.to_string(),
                slots,
                running,
                state,
                if row.client { "-".to_owned() } else { written(labels, row.instance).join(" ") },
            ],
        );
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> NodeRow {
        NodeRow {
            instance: InstanceId([0xab; 16]),
            name: "node-1".into(),
            address: "127.0.0.1:4000".parse().unwrap(),
            slots: 2,
            running: 1,
            proposed: 0,
            client: false,
            suspect: true,
            silent: 9_500_000,
        }
    }

    fn labels() -> Labels {
        let labels = [("gpu", ""), ("os", "linux")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Labels::from([(row().instance, labels.to_vec())])
    }

    #[test]
    fn json_keeps_its_field_names() {
        let json = as_json(&[row()], &labels());
        let names: Vec<&String> = json["nodes"][0].as_object().unwrap().keys().collect();
        let expected = [
            "address",
            "instance",
            "labels",
            "name",
            "proposed",
            "role",
            "running",
            "silent_seconds",
            "slots",
            "state",
        ];
        assert_eq!(names, expected);
        assert_eq!(json["nodes"][0]["silent_seconds"], 9.5);
        assert_eq!(json["nodes"][0]["labels"], json!(["gpu", "os=linux"]));
    }

    #[test]
    fn text_says_when_nobody_is_there() {
        assert!(as_text(&[], &labels(), Style::plain()).contains("xxnet exe"));
        let text = as_text(&[row()], &labels(), Style::plain());
        assert!(
            text.ends_with(
                "node-1  executor  127.0.0.1:4000  2      1        silent for 9.5s  gpu os=linux\n"
            ),
            "{text}"
        );
    }
}
