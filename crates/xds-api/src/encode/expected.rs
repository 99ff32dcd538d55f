//! The words of an error: what was found and what was expected.

use crate::document::Value;
use crate::schema::{EnumType, MessageType};

/// How many names an error lists.
const MAX_NAMES: usize = 16;

pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value, text) if **text == *value.to_string() => format!("boolean {value}"),
        Value::Bool(value, text) => format!("boolean {value} (written `{text}`)"),
        Value::Number(text) => format!("number {text}"),
        Value::String(text) => format!("string {:?}", shortened(text)),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "a map".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What may stand instead of the unknown field `found`.
pub(super) fn field_names(message: MessageType, found: &str) -> String {
    if found == "<<" {
        return format!(
            "a field of {} (YAML merge keys are not supported, as in Envoy)",
            message.full_name()
        );
    }
    match nearest(found, message.fields().map(|field| field.name())) {
        Some(name) => format!("a field of {}; did you mean `{name}`?", message.full_name()),
        None => format!("a field of {}", message.full_name()),
    }
}

pub(super) fn value_names(values: EnumType, found: &Value) -> String {
    let count = values.values().len();
    if count <= MAX_NAMES {
        let names: Vec<&str> = values.values().map(|(name, _)| name).collect();
        return format!("one of {}", names.join(", "));
    }
    let nearest = match found {
        Value::String(text) => nearest(text, values.values().map(|(name, _)| name)),
        _ => None,
    };
    match nearest {
        Some(name) => format!(
            "one of the {count} values of {}; did you mean {name}?",
            values.full_name()
        ),
        None => format!("one of the {count} values of {}", values.full_name()),
    }
}

/// The candidate that at most a third of the letters tell apart.
fn nearest<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let found = plain(&found.chars().take(80).collect::<String>());
    candidates
        .map(|candidate| (distance(found.as_bytes(), plain(candidate).as_bytes()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 || *distance * 3 <= candidate.len())
        .map(|(_, candidate)| candidate)
}

/// The message that may be meant by a full name that is none: one whose own name is nearly the same, of the nearest
/// package.
pub(super) fn nearest_type(found: &str) -> Option<&'static str> {
    let own = |name: &str| name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let short: String = found.chars().take(200).collect();
    let wanted = own(&short);
    MessageType::all()
        .map(MessageType::full_name)
        .filter(|name| name.len() < 200 && distance(own(name).as_bytes(), wanted.as_bytes()) <= 2)
        .min_by_key(|name| distance(name.as_bytes(), short.as_bytes()))
}

/// Levenshtein distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
