//! docs/report.md, docs/report.schema.json and the reports have the same fields.

#![expect(clippy::panic, reason = "a helper of tests fails the test")]

use std::fs;
use std::path::Path;

use serde_json::Value;

#[path = "common/schema.rs"]
mod schema;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Name and type of each field in the tables under these headings of the page.
fn on_the_page(page: &str, headings: &[&str]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for heading in headings {
        let (_, section) =
            page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
        let rows = section.lines().skip_while(|line| !line.starts_with('|'));
        for row in rows.take_while(|line| line.starts_with('|')).skip(2) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, _, meaning, null] = cells[..] else { panic!("{row} has not five cells") };
            assert!(!meaning.is_empty(), "{name} has no meaning");
            assert_eq!(kind.ends_with("or null"), !null.is_empty(), "when is {name} null?");
            fields.push((name.trim_matches('`').to_owned(), kind.to_owned()));
        }
    }
    fields.sort();
    fields
}

/// Name and type of each field in a definition of the schema.
fn in_the_schema(schema: &Value, definition: &str) -> Vec<(String, String)> {
    let properties = &schema["$defs"][definition]["properties"];
    let mut fields = Vec::new();
    for (name, rule) in properties.as_object().into_iter().flatten() {
        let target = rule["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        let kind = target.map_or(&rule["type"], |target| &schema["$defs"][target]["type"]);
        let kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
        let kinds: Vec<_> = kinds.iter().filter_map(Value::as_str).collect();
        fields.push((name.clone(), kinds.join(" or ")));
    }
    fields.sort();
    fields
}

#[test]
fn page_and_schema_have_the_same_fields_of_the_same_types() {
    let (page, schema) = (read("docs/report.md"), json(&read("docs/report.schema.json")));
    for (definition, headings) in [
        ("sender", &["Both roles", "Sender only"][..]),
        ("receiver", &["Both roles", "Receiver only"]),
        ("receiver_entry", &["Entries of `receivers`"]),
        ("rate_control", &["`rate_control`"]),
        ("wire", &["`wire`"]),
        ("archive", &["`archive`"]),
    ] {
        let (mut said, meant) = (on_the_page(&page, headings), in_the_schema(&schema, definition));
        if definition == "sender" {
            // The page has one table for both roles, and a sender always has its label.
            said.iter_mut()
                .filter(|field| field.0 == "label")
                .for_each(|field| field.1 = "string".to_owned());
        }
        assert_eq!(said, meant, "{definition}");
    }
}

#[test]
fn every_field_of_the_schema_is_required_and_no_other_is_allowed() {
    let schema = json(&read("docs/report.schema.json"));
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        let mut required: Vec<_> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        required.sort_unstable();
        let properties: Vec<_> =
            definition["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        assert_eq!(required, properties, "{name}");
        assert_eq!(definition["additionalProperties"], false, "{name}");
    }
}

#[test]
fn reports_that_unit_tests_keep_are_those_of_the_schema() {
    let schema = json(&read("docs/report.schema.json"));
    for role in ["sender", "receiver"] {
        let kept = read(&format!("src/cli/snapshots/mcast__cli__report__tests__{role}.snap"));
        let (_, report) = kept.rsplit_once("---\n").unwrap_or_default();
        assert_eq!(schema::complaints(&schema, role, &json(report)), Vec::<String>::new());
    }
}

#[test]
fn report_with_a_field_too_many_too_few_or_of_another_type_is_found() {
    let schema = json(&read("docs/report.schema.json"));
    let kept = read("src/cli/snapshots/mcast__cli__report__tests__sender.snap");
    let right = json(kept.rsplit_once("---\n").unwrap_or_default().1);
    for (change, words) in [
        (&(|report: &mut Value| report["new"] = 1.into()) as &dyn Fn(&mut Value), "does not know new"),
        (&|report| drop(report.as_object_mut().and_then(|fields| fields.remove("host"))), "has no host"),
        (&|report| report["bytes"] = (-1).into(), "less than 0"),
        (&|report| report["started"] = "yesterday".into(), "date-time"),
        (&|report| report["wire"]["datagrams"] = "7".into(), "sender.wire.datagrams"),
        (&|report| report["rate_control"]["phase"] = "slow".into(), "sender.rate_control.phase"),
        (&|report| report["receivers"][0]["path_loss"] = 1.5.into(), "more than 1"),
        (&|report| report["receivers"][0]["outcome"] = "well".into(), "sender.receivers[].outcome"),
        (&|report| report["limited_by"]["source"] = Value::Null, "sender.limited_by.source"),
    ] {
        let mut report = right.clone();
        change(&mut report);
        let complaints = schema::complaints(&schema, "sender", &report);
        assert!(complaints.iter().any(|complaint| complaint.contains(words)), "{words}: {complaints:?}");
    }
}
