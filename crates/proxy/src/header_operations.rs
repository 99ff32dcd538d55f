//! Header lists of routes, virtual hosts and route tables, and the texts in them.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use codec::headers::HeaderBlock;
use codec::headers::validate::has_only_value_characters;
use config::ExtensionConfig;
use config::header_mutation::{HeaderAppendAction, HeaderMutation, HeaderMutations, HeaderValueOption};
use config::value_format::FormattedText;
use telemetry::access_log::Format;

use crate::access_log::Entry;
use crate::downstream::Downstream;
use crate::stream::Stream;

/// A header's value with command operators.
#[derive(Debug)]
struct Compiled(Format);

impl ExtensionConfig for Compiled {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Compiles a text with command operators: a value that is not there is written as nothing.
pub(crate) fn compile(text: &str) -> Result<Arc<dyn ExtensionConfig>, String> {
    match Format::text(text, true) {
        Ok(format) => Ok(Arc::new(Compiled(format))),
        Err(error) => Err(format!("is {text:?}: {error}")),
    }
}

/// The lists of all levels, that of the weighted cluster first.
pub(crate) type Levels<'a> = [Option<&'a HeaderMutations>; 4];

/// Whether there is anything to do.
pub(crate) fn are_empty(levels: &Levels<'_>) -> bool {
    levels.iter().flatten().all(|level| level.is_empty())
}

/// A header block, and whom to ask for the values that go into it.
pub(crate) trait Target {
    /// Writes a value.
    fn evaluate(&self, format: &Format, out: &mut Vec<u8>);
    /// The block that is changed.
    fn block(&mut self) -> &mut HeaderBlock;
}

/// The head of a request on its way to an endpoint.
pub(crate) struct RequestHead<'a> {
    pub(crate) stream: &'a mut Stream,
    pub(crate) downstream: &'a Downstream,
    pub(crate) now: Instant,
}

impl Target for RequestHead<'_> {
    fn evaluate(&self, format: &Format, out: &mut Vec<u8>) {
        write(format, (self.stream, self.downstream), None, self.now, out);
    }

    fn block(&mut self) -> &mut HeaderBlock {
        &mut self.stream.request
    }
}

/// The head of an answer on its way to the caller.
pub(crate) struct ResponseHead<'a> {
    pub(crate) head: &'a mut HeaderBlock,
    pub(crate) stream: &'a Stream,
    pub(crate) downstream: &'a Downstream,
    pub(crate) now: Instant,
}

impl Target for ResponseHead<'_> {
    fn evaluate(&self, format: &Format, out: &mut Vec<u8>) {
        write(format, (self.stream, self.downstream), Some(self.head), self.now, out);
    }

    fn block(&mut self) -> &mut HeaderBlock {
        self.head
    }
}

/// A header block of its own, of a request that says what goes into it: a copy, or trailers.
pub(crate) struct OtherBlock<'a> {
    pub(crate) block: &'a mut HeaderBlock,
    pub(crate) stream: &'a Stream,
    pub(crate) downstream: &'a Downstream,
    pub(crate) now: Instant,
}

impl Target for OtherBlock<'_> {
    fn evaluate(&self, format: &Format, out: &mut Vec<u8>) {
        write(format, (self.stream, self.downstream), None, self.now, out);
    }

    fn block(&mut self) -> &mut HeaderBlock {
        self.block
    }
}

/// Writes what a format comes to for a request of a connection, and for the head of its answer where that is made.
fn write(
    format: &Format,
    (stream, downstream): (&Stream, &Downstream),
    response: Option<&HeaderBlock>,
    now: Instant,
    out: &mut Vec<u8>,
) {
    format.write(&Entry::new(stream, downstream, now).with_response(response), out);
}

/// Makes one change. `buffer` is scratch space.
pub(crate) fn mutate(target: &mut impl Target, mutation: &HeaderMutation, buffer: &mut Vec<u8>) {
    match mutation {
        HeaderMutation::Remove(name) => {
            target.block().remove(name.as_bytes());
        }
        HeaderMutation::RemoveOnMatch(matcher) => target.block().retain(|field| !matcher.matches(field.name)),
        HeaderMutation::Add(header) => add(target, header, buffer),
    }
}

/// What a text with command operators comes to; `None` if that is nothing, or has no place in a header.
pub(crate) fn text_of(target: &impl Target, text: &FormattedText) -> Option<Vec<u8>> {
    let value = match text.format.get::<Compiled>() {
        None => text.text.as_bytes().to_vec(),
        Some(Compiled(format)) => {
            let mut value = Vec::new();
            target.evaluate(format, &mut value);
            value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            value
        }
    };
    Some(value).filter(|value| !value.is_empty() && has_only_value_characters(value))
}

/// Applies the lists of all levels, the most specific one first unless it is to win. As in Envoy, that of the weighted
/// cluster always comes first. `buffer` is scratch space.
pub(crate) fn apply(target: &mut impl Target, levels: Levels<'_>, most_specific_wins: bool, buffer: &mut Vec<u8>) {
    let mut one = |level: Option<&HeaderMutations>| {
        if let Some(mutations) = level {
            for name in &mutations.remove {
                target.block().remove(name.as_bytes());
            }
            for header in &mutations.add {
                add(target, header, buffer);
            }
        }
    };
    let [cluster, rest @ ..] = levels;
    one(cluster);
    if most_specific_wins {
        rest.into_iter().rev().for_each(&mut one);
    } else {
        rest.into_iter().for_each(&mut one);
    }
}

/// Adds one header.
pub(crate) fn add(target: &mut impl Target, header: &HeaderValueOption, buffer: &mut Vec<u8>) {
    let value = match header.format.get::<Compiled>() {
        None => header.value.as_bytes(),
        Some(Compiled(format)) => {
            buffer.clear();
            target.evaluate(format, buffer);
            // What comes from a caller or an endpoint may not end a line.
            buffer.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            buffer
        }
    };
    put(target.block(), header, value);
}

fn put(block: &mut HeaderBlock, header: &HeaderValueOption, value: &[u8]) {
    if value.is_empty() && !header.keep_empty_value {
        return;
    }
    let name = header.name.as_bytes();
    if !has_only_value_characters(value) {
        // Envoy sends such octets, which no field may have (RFC 9110 section 5.5). One that was to be overwritten must
        // not stay in its place: the caller may have sent it.
        if matches!(
            header.append_action,
            HeaderAppendAction::OverwriteIfExistsOrAdd | HeaderAppendAction::OverwriteIfExists
        ) {
            block.remove(name);
        }
        return;
    }
    match header.append_action {
        HeaderAppendAction::AppendIfExistsOrAdd => block.append(name, value),
        HeaderAppendAction::AddIfAbsent if block.contains(name) => {}
        HeaderAppendAction::AddIfAbsent => block.append(name, value),
        HeaderAppendAction::OverwriteIfExistsOrAdd => block.set(name, value),
        HeaderAppendAction::OverwriteIfExists if block.contains(name) => block.set(name, value),
        HeaderAppendAction::OverwriteIfExists => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl telemetry::access_log::LogContext for Request {
        fn protocol(&self) -> Option<&str> {
            Some("HTTP/2")
        }

        fn request_header(&self, name: &str) -> Option<&[u8]> {
            (name == "forbidden").then_some(b"a\x01\tb\x7f")
        }
    }

    impl Target for HeaderBlock {
        fn evaluate(&self, format: &Format, out: &mut Vec<u8>) {
            format.write(&Request, out);
        }

        fn block(&mut self) -> &mut HeaderBlock {
            self
        }
    }

    fn header(value: &str, append_action: HeaderAppendAction, keep_empty_value: bool) -> HeaderValueOption {
        let mut extensions = config::Extensions::new();
        extensions.register_formats(compile);
        let format = config::Context::new(&extensions).value_format("value", value);
        HeaderValueOption {
            name: "x".into(),
            value: value.into(),
            format: format.unwrap(),
            append_action,
            keep_empty_value,
        }
    }

    fn added(value: &str, action: HeaderAppendAction, keep: bool, before: &[&str]) -> Vec<String> {
        let mut block = HeaderBlock::new();
        for line in before {
            block.append(b"x".as_slice(), line.as_bytes());
        }
        add(&mut block, &header(value, action, keep), &mut Vec::new());
        block
            .iter()
            .map(|field| String::from_utf8(field.value.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn values_are_made_of_operators_and_added_as_asked() {
        use HeaderAppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        assert_eq!(
            added("a %PROTOCOL% 100%%", AppendIfExistsOrAdd, false, &["1"]),
            ["1", "a HTTP/2 100%"]
        );
        assert_eq!(added("%REQ(missing)%", AppendIfExistsOrAdd, false, &[]), [""; 0]);
        assert_eq!(added("%REQ(missing)%", AppendIfExistsOrAdd, true, &[]), [""]);
        assert_eq!(added("v", AddIfAbsent, false, &["1"]), ["1"]);
        assert_eq!(added("v", AddIfAbsent, false, &[]), ["v"]);
        assert_eq!(added("v", OverwriteIfExistsOrAdd, false, &["1", "2"]), ["v"]);
        assert_eq!(added("v", OverwriteIfExists, false, &[]), [""; 0]);
        assert_eq!(added("v", OverwriteIfExists, false, &["1"]), ["v"]);
    }

    #[test]
    fn a_value_that_no_field_may_have_is_left_out_with_its_header() {
        use HeaderAppendAction::{AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd};
        let forbidden = "%REQ(forbidden)%";
        assert_eq!(added(forbidden, AppendIfExistsOrAdd, true, &["1"]), ["1"]);
        assert_eq!(added(forbidden, AddIfAbsent, true, &[]), [""; 0]);
        assert_eq!(added(forbidden, OverwriteIfExistsOrAdd, true, &["1", "2"]), [""; 0]);
        assert_eq!(added(forbidden, OverwriteIfExists, true, &["1"]), [""; 0]);
        // Cut before the first forbidden octet.
        assert_eq!(
            added("%REQ(forbidden):1%\u{9}\u{e9}", AddIfAbsent, true, &[]),
            ["a\t\u{e9}"]
        );
        let text = header(forbidden, AddIfAbsent, true);
        let text = FormattedText {
            text: text.value.clone(),
            format: text.format.clone(),
        };
        assert_eq!(text_of(&HeaderBlock::new(), &text), None);
    }
}
