//! Changes to query parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::value_format::FormattedText;
use config::{Context, Reported};
use xds_api::envoy::config::core::v3 as core;
use xds_api::google::protobuf::value::Kind;

use crate::header_operations::{self, RequestHead};

/// One change to a query.
#[derive(Debug)]
pub(super) enum QueryMutation {
    Remove(Arc<str>),
    Append {
        key: Arc<str>,
        /// None for an empty one.
        value: Option<FormattedText>,
        action: Action,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

impl QueryMutation {
    pub(super) fn parse(context: &mut Context<'_>, message: &core::KeyValueMutation) -> Result<Self, Reported> {
        use core::key_value_append::KeyValueAppendAction as Pb;
        context.check(message);
        if !message.remove.is_empty() {
            return Ok(QueryMutation::Remove(message.remove.as_str().into()));
        }
        context.required("append", message.append.as_ref(), |context, append| {
            context.check(append);
            let action = match context.enumeration("action", append.action)? {
                Pb::AppendIfExistsOrAdd => Action::AppendIfExistsOrAdd,
                Pb::AddIfAbsent => Action::AddIfAbsent,
                Pb::OverwriteIfExistsOrAdd => Action::OverwriteIfExistsOrAdd,
                Pb::OverwriteIfExists => Action::OverwriteIfExists,
            };
            let (key, value) = context.required("record", append.record.as_ref(), |context, record| {
                context.check(record);
                let key = context.text("key", &record.key)?;
                match record.value.as_ref().and_then(|value| value.kind.as_ref()) {
                    Some(Kind::StringValue(value)) => Ok((key, FormattedText::parse(context, "value", value)?)),
                    _ => Err(context.reject_field("value", "expected a string")),
                }
            })?;
            Ok(QueryMutation::Append { key, value, action })
        })
    }
}

/// Changes the query of a request. As in Envoy its parameters are sorted by name then.
pub(super) fn apply(mutations: &[QueryMutation], target: &mut RequestHead<'_>) {
    if mutations.is_empty() {
        return;
    }
    let Some(path) = target.stream.request.path() else {
        return;
    };
    let changed = changed(mutations, path, |text| {
        header_operations::text_of(target, text).unwrap_or_default()
    });
    target.stream.request.set_path(&changed);
}

fn changed(mutations: &[QueryMutation], path: &[u8], text_of: impl Fn(&FormattedText) -> Vec<u8>) -> Vec<u8> {
    let (base, query) = match path.iter().position(|byte| *byte == b'?') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, &path[..0]),
    };
    let mut parameters: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let key = parts.next().unwrap_or_default().to_vec();
        let value = parts.next().unwrap_or_default().to_vec();
        parameters.entry(key).or_default().push(value);
    }
    for mutation in mutations {
        match mutation {
            QueryMutation::Remove(key) => {
                parameters.remove(key.as_bytes());
            }
            QueryMutation::Append { key, value, action } => {
                let value = value.as_ref().map(&text_of).unwrap_or_default();
                let key = key.as_bytes().to_vec();
                let exists = parameters.contains_key(&key);
                match action {
                    Action::AppendIfExistsOrAdd => parameters.entry(key).or_default().push(value),
                    Action::AddIfAbsent if exists => {}
                    Action::OverwriteIfExists if !exists => {}
                    Action::AddIfAbsent | Action::OverwriteIfExistsOrAdd | Action::OverwriteIfExists => {
                        parameters.insert(key, vec![value]);
                    }
                }
            }
        }
    }
    let mut changed = base.to_vec();
    let mut delimiter = b'?';
    for (key, values) in &parameters {
        for value in values {
            changed.push(delimiter);
            changed.extend_from_slice(key);
            changed.push(b'=');
            changed.extend_from_slice(value);
            delimiter = b'&';
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use config::value_format::ValueFormat;

    use super::*;

    fn append(key: &str, value: &str, action: Action) -> QueryMutation {
        QueryMutation::Append {
            key: key.into(),
            value: Some(FormattedText {
                text: value.into(),
                format: ValueFormat::default(),
            }),
            action,
        }
    }

    fn changed(list: &[QueryMutation], path: &[u8]) -> Vec<u8> {
        super::changed(list, path, |text| text.text.as_bytes().to_vec())
    }

    #[test]
    fn parameters_are_added_replaced_and_removed() {
        let list = [
            append("a", "2", Action::AppendIfExistsOrAdd),
            append("b", "9", Action::AddIfAbsent),
            append("c", "3", Action::OverwriteIfExists),
            append("d", "4", Action::OverwriteIfExistsOrAdd),
            QueryMutation::Remove("gone".into()),
        ];
        assert_eq!(changed(&list, b"/p?gone=1&b=0&a=1"), b"/p?a=1&a=2&b=0&d=4");
        assert_eq!(changed(&list, b"/p"), b"/p?a=2&b=9&d=4");
        assert_eq!(changed(&[QueryMutation::Remove("a".into())], b"/p?a=1"), b"/p");
    }
}
