//! Changes to headers (`envoy.config.core.v3.HeaderValueOption`, the lists of names to remove, and
//! `envoy.config.common.mutation_rules.v3.HeaderMutation`).

use std::sync::Arc;

use xds_api::envoy::config::common::mutation_rules::v3 as rules;
use xds_api::envoy::config::core::v3 as core;

use crate::context::Context;
use crate::rejected::Reported;
use crate::string_matcher::{StringMatcher, header_name, parse_header_name};
use crate::value_format::ValueFormat;

/// What to add to and remove from a header block, in the order of the configuration. Removal comes first in Envoy's
/// evaluation of one level; see [`HeaderMutations::is_empty`] to skip a level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeaderMutations {
    /// Headers to add.
    pub add: Box<[HeaderValueOption]>,
    /// Lower-case names to remove.
    pub remove: Box<[Arc<str>]>,
}

impl HeaderMutations {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// A header to add.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderValueOption {
    /// Lower-case name.
    pub name: Arc<str>,
    /// The value as written, command operators (`%REQ(...)%`) included.
    pub value: Arc<str>,
    /// The same, compiled, where it has command operators.
    pub format: ValueFormat,
    /// What becomes of a header of that name that is already there.
    pub append_action: HeaderAppendAction,
    /// Whether a value that evaluates to nothing is added all the same.
    pub keep_empty_value: bool,
}

impl HeaderValueOption {
    /// Whether the value is plain text without command operators.
    pub fn is_literal(&self) -> bool {
        !self.value.contains('%')
    }
}

/// What becomes of a header that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderAppendAction {
    /// Another line is added.
    AppendIfExistsOrAdd,
    /// It is left as it is.
    AddIfAbsent,
    /// It is replaced.
    OverwriteIfExistsOrAdd,
    /// It is replaced; a header that is not there is not added.
    OverwriteIfExists,
}

/// One change (`envoy.config.common.mutation_rules.v3.HeaderMutation`).
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderMutation {
    /// Removes the header of this name.
    Remove(Arc<str>),
    /// Removes headers whose names match.
    RemoveOnMatch(StringMatcher),
    /// Adds a header.
    Add(HeaderValueOption),
}

impl HeaderMutation {
    /// Parses a change.
    ///
    /// # Errors
    /// When it says nothing, or a name is none.
    pub fn parse(context: &mut Context<'_>, message: &rules::HeaderMutation) -> Result<Self, Reported> {
        use rules::header_mutation::Action;
        context.check(message);
        match &message.action {
            Some(Action::Remove(name)) => parse_header_name(context, "remove", name).map(Self::Remove),
            Some(Action::Append(header)) => context
                .at("append", |context| HeaderValueOption::parse(context, header))
                .map(Self::Add),
            Some(Action::RemoveOnMatch(on_match)) => context.at("remove_on_match", |context| {
                context.check(on_match);
                context
                    .required("key_matcher", on_match.key_matcher.as_ref(), StringMatcher::parse)
                    .map(Self::RemoveOnMatch)
            }),
            None => Err(context.reject("has no remove, append or remove_on_match")),
        }
    }
}

/// Envoy's limit on the number of headers that one list adds.
const MOST_HEADERS: usize = 1000;

impl HeaderMutations {
    /// Parses the two lists of a message; the names of its fields go into the paths of faults.
    pub(crate) fn parse(
        context: &mut Context<'_>,
        (add_field, add): (&'static str, &[core::HeaderValueOption]),
        (remove_field, remove): (&'static str, &[String]),
    ) -> Result<Self, Reported> {
        if add.len() > MOST_HEADERS {
            let found = format!("has {} entries, expected at most {MOST_HEADERS}", add.len());
            return Err(context.reject_field(add_field, found));
        }
        let add = context.each(add_field, add, HeaderValueOption::parse);
        let remove = context.each(remove_field, remove, |context, name| {
            let name = parse_own_name(context, name)?;
            if name.starts_with(':') || &*name == "host" {
                return Err(context.reject(format!("is {name:?}: pseudo-headers and host may not be removed")));
            }
            Ok(name)
        });
        Ok(Self {
            add: add?,
            remove: remove?,
        })
    }
}

/// The element itself is the name, so the path ends at its index.
fn parse_own_name(context: &mut Context<'_>, name: &str) -> Result<Arc<str>, Reported> {
    header_name(name).ok_or_else(|| context.reject(format!("is {name:?}, expected the name of a header")))
}

impl HeaderValueOption {
    /// Parses a header to add.
    ///
    /// # Errors
    /// When the name is missing, a pseudo-header or `host`, or name or value hold characters that end a line.
    pub fn parse(context: &mut Context<'_>, message: &core::HeaderValueOption) -> Result<Self, Reported> {
        use core::header_value_option::HeaderAppendAction as Action;
        context.check(message);
        let header = context.required("header", message.header.as_ref(), |context, header| {
            context.check(header);
            let name = parse_header_name(context, "key", &header.key)?;
            if name.starts_with(':') || &*name == "host" {
                let found = format!("is {name:?}: pseudo-headers and host may not be modified this way");
                return Err(context.reject_field("key", found));
            }
            if header.value.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
                return Err(context.reject_field("value", "holds a line break or a NUL"));
            }
            let format = context.value_format("value", &header.value)?;
            Ok((name, Arc::from(header.value.as_str()), format))
        });
        let action: Result<Action, _> = context.enumeration("append_action", message.append_action);
        let append_action = match (message.append, action?) {
            // The deprecated flag decides where it is written; Envoy refuses both together.
            (Some(_), action) if action != Action::AppendIfExistsOrAdd => {
                return Err(context.reject_field("append", "and append_action may not both be set"));
            }
            (Some(append), _) if !append.value => HeaderAppendAction::OverwriteIfExistsOrAdd,
            (_, Action::AppendIfExistsOrAdd) => HeaderAppendAction::AppendIfExistsOrAdd,
            (_, Action::AddIfAbsent) => HeaderAppendAction::AddIfAbsent,
            (_, Action::OverwriteIfExistsOrAdd) => HeaderAppendAction::OverwriteIfExistsOrAdd,
            (_, Action::OverwriteIfExists) => HeaderAppendAction::OverwriteIfExists,
        };
        let (name, value, format) = header?;
        Ok(Self {
            name,
            value,
            format,
            append_action,
            keep_empty_value: message.keep_empty_value,
        })
    }
}
