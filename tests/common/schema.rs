//! The part of JSON Schema that docs/report.schema.json uses.

use serde_json::Value;

/// Differences between `value` and the definition of this name in `schema`; empty if it is as described.
pub(crate) fn complaints(schema: &Value, definition: &str, value: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    check(schema, &schema["$defs"][definition], definition, value, &mut complaints);
    complaints
}

fn check(schema: &Value, rule: &Value, place: &str, value: &Value, complaints: &mut Vec<String>) {
    let Some(rule) = rule.as_object() else {
        complaints.push(format!("{place}: the schema has no rule"));
        return;
    };
    let mut complain = |what: &str| complaints.push(format!("{place}: {what}: {value}"));
    for (word, wanted) in rule {
        match word.as_str() {
            "type" => {
                let types = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                if !types.iter().any(|kind| is(kind.as_str().unwrap_or_default(), value)) {
                    complain(&format!("is no {wanted}"));
                }
            }
            "const" if value != wanted => complain(&format!("is not {wanted}")),
            "enum" if !wanted.as_array().is_some_and(|all| all.contains(value)) => {
                complain(&format!("is none of {wanted}"));
            }
            "minimum" if value.is_number() && value.as_f64() < wanted.as_f64() => {
                complain(&format!("is less than {wanted}"));
            }
            "maximum" if value.is_number() && value.as_f64() > wanted.as_f64() => {
                complain(&format!("is more than {wanted}"));
            }
            "format" if !is_moment(value) => complain(&format!("is no {wanted}")),
            "required" if value.is_object() => {
                for name in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if value.get(name).is_none() {
                        complain(&format!("has no {name}"));
                    }
                }
            }
            "const" | "enum" | "minimum" | "maximum" | "format" | "required" => {}
            "$ref" | "properties" | "additionalProperties" | "items" => {}
            _ => complain(&format!("{word} is a rule that this test does not know")),
        }
    }
    if let Some(name) = rule.get("$ref").and_then(Value::as_str) {
        let target = name.strip_prefix("#/$defs/").unwrap_or_default();
        check(schema, &schema["$defs"][target], place, value, complaints);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = rule.get("properties").and_then(|properties| properties.get(name));
        match (known, rule.get("additionalProperties")) {
            (Some(rule), _) => check(schema, rule, &format!("{place}.{name}"), value, complaints),
            (None, Some(Value::Bool(false))) => {
                complaints.push(format!("{place}: the schema does not know {name}"));
            }
            (None, Some(rule)) => check(schema, rule, &format!("{place}.{name}"), value, complaints),
            // A reference has been looked at above.
            (None, None) => {}
        }
    }
    if let Some(rule) = rule.get("items") {
        for value in value.as_array().into_iter().flatten() {
            check(schema, rule, &format!("{place}[]"), value, complaints);
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn is_moment(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok())
}
