//! What every parser is handed: where it is, what it may call, and where faults go.

use std::borrow::Cow;
use std::sync::Arc;

use xds_api::google::protobuf::Any;
use xds_api::prost;

use crate::extensions::{ExtensionConfig, ExtensionKind, Extensions, message_name};
use crate::field_path::{FieldPath, Segment};
use crate::fingerprint::Fingerprint;
use crate::rejected::{Parsed, Rejected, Reported, WithoutEffect};
use crate::support::Supported;
use crate::value_format::ValueFormat;

/// The state of parsing one resource: the current path, the faults found so far, the extensions that may appear.
///
/// Parsers go on after a fault so that all faults of a resource are found in one pass: parse each field into a
/// `Result`, and unwrap them with `?` only when building the value at the end.
#[derive(Debug)]
pub struct Context<'a> {
    extensions: &'a Extensions,
    path: Vec<Segment>,
    rejected: Vec<Rejected>,
    without_effect: Vec<WithoutEffect>,
    /// Digest of the bytes that the resource at the root came in, until its parser takes it.
    content: Option<Fingerprint>,
    /// Whether what the proxy does not act on yet is let through: the tests of parsers look at every field.
    #[cfg(test)]
    pub(crate) everything: bool,
}

impl<'a> Context<'a> {
    /// A context at the root of a resource.
    pub fn new(extensions: &'a Extensions) -> Self {
        Self {
            extensions,
            path: Vec::new(),
            rejected: Vec::new(),
            without_effect: Vec::new(),
            content: None,
            #[cfg(test)]
            everything: false,
        }
    }

    /// Runs a parser for a whole resource and turns what it recorded into a result.
    ///
    /// # Errors
    /// Every fault, in the order found.
    pub fn parse<T>(
        extensions: &'a Extensions,
        parse: impl FnOnce(&mut Self) -> Result<T, Reported>,
    ) -> Result<Parsed<T>, Vec<Rejected>> {
        let mut context = Self::new(extensions);
        let result = parse(&mut context);
        match result {
            Ok(value) if context.rejected.is_empty() => Ok(Parsed {
                value,
                without_effect: context.without_effect,
            }),
            _ => Err(context.rejected),
        }
    }

    /// Says which bytes the resource at the root came in: its fingerprint is theirs.
    pub(crate) fn set_content(&mut self, bytes: &[u8]) {
        self.content = Some(Fingerprint::of(bytes));
    }

    /// The fingerprint of the resource whose parser begins here: of the bytes it came in, else of its encoding.
    pub(crate) fn take_fingerprint(&mut self, message: &impl prost::Message) -> Fingerprint {
        self.content
            .take()
            .unwrap_or_else(|| Fingerprint::of(&message.encode_to_vec()))
    }

    /// Keeps a part of a resource that equals the one before it only once.
    pub(crate) fn share<T: PartialEq + Send + Sync + 'static>(&self, value: T) -> Arc<T> {
        self.extensions.alike.share(value)
    }

    /// The one copy of a name that several resources have, such as a cluster's.
    pub(crate) fn shared_name(&self, name: &str) -> Arc<str> {
        self.extensions.alike.name(name)
    }

    /// Records a fault at the current path.
    pub fn reject(&mut self, reason: impl Into<String>) -> Reported {
        let path = FieldPath::from_segments(&self.path, None);
        self.rejected.push(Rejected::new(path, reason));
        Reported(())
    }

    /// Records a fault at a field of the current message.
    pub fn reject_field(&mut self, field: &str, reason: impl Into<String>) -> Reported {
        let path = FieldPath::from_segments(&self.path, Some(field));
        self.rejected.push(Rejected::new(path, reason));
        Reported(())
    }

    /// Refuses a field that is read, but that the proxy does not act on yet.
    #[doc(hidden)]
    pub fn not_yet(&mut self, field: &str) {
        #[cfg(test)]
        if self.everything {
            return;
        }
        self.reject_field(field, format!("is not supported: {}", crate::support::NOT_YET));
    }

    /// The proof for a fault that the support table has recorded, such as a member of a `oneof` that it refuses.
    pub fn reported(&self) -> Reported {
        debug_assert!(!self.rejected.is_empty(), "nothing was recorded");
        Reported(())
    }

    /// Records that a field of the current message changes nothing.
    pub fn without_effect(&mut self, field: &str, reason: &'static str) {
        let path = FieldPath::from_segments(&self.path, Some(field));
        self.without_effect.push(WithoutEffect { path, reason });
    }

    /// The current path.
    pub fn path(&self) -> FieldPath {
        FieldPath::from_segments(&self.path, None)
    }

    /// How many faults were recorded so far: lets a caller see whether a part that returned a value had faults.
    pub fn faults(&self) -> usize {
        self.rejected.len()
    }

    /// Parses inside the field `field` of the current message.
    pub fn at<T>(&mut self, field: &'static str, parse: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Segment::Field(field));
        let value = parse(self);
        self.path.pop();
        value
    }

    /// Parses a message field when it is set.
    ///
    /// # Errors
    /// When `parse` failed.
    pub fn optional<M, T>(
        &mut self,
        field: &'static str,
        message: Option<&M>,
        parse: impl FnOnce(&mut Self, &M) -> Result<T, Reported>,
    ) -> Result<Option<T>, Reported> {
        match message {
            Some(message) => self.at(field, |context| parse(context, message)).map(Some),
            None => Ok(None),
        }
    }

    /// Parses a message field that must be set.
    ///
    /// # Errors
    /// When it is not, or `parse` failed.
    pub fn required<M, T>(
        &mut self,
        field: &'static str,
        message: Option<&M>,
        parse: impl FnOnce(&mut Self, &M) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        match message {
            Some(message) => self.at(field, |context| parse(context, message)),
            None => Err(self.reject_field(field, "is required")),
        }
    }

    /// Parses every element of a repeated field, also after one has failed.
    ///
    /// # Errors
    /// When any element failed.
    pub fn each<M, T, C: FromIterator<T>>(
        &mut self,
        field: &'static str,
        messages: &[M],
        mut parse: impl FnMut(&mut Self, &M) -> Result<T, Reported>,
    ) -> Result<C, Reported> {
        if messages.is_empty() {
            return Ok(C::from_iter(None));
        }
        self.at(field, |context| {
            let mut failed = None;
            // As many as there are messages and no more: a vector that grows takes room for four when it gets its
            // first, and a big mesh is made of lists of one.
            let mut values = Vec::with_capacity(messages.len());
            for (index, message) in messages.iter().enumerate() {
                context.path.push(Segment::Index(index));
                match parse(context, message) {
                    Ok(value) => values.push(value),
                    Err(reported) => failed = Some(reported),
                }
                context.path.pop();
            }
            failed.map_or_else(|| Ok(values.into_iter().collect()), Err)
        })
    }

    /// Parses one element of a repeated field or map, by key.
    pub fn at_key<T>(&mut self, field: &'static str, key: &str, parse: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(Segment::Field(field));
        self.path.push(Segment::Key(key.to_owned()));
        let value = parse(self);
        self.path.truncate(self.path.len() - 2);
        value
    }

    /// Checks a message against its support table: a set field that is not supported is rejected or noted.
    pub fn check<M: Supported>(&mut self, message: &M) {
        message.check_fields(self);
    }

    /// Decodes the value of an `Any` whose type is already known.
    ///
    /// # Errors
    /// When the bytes are not such a message.
    pub fn decode<M: prost::Message + Default>(&mut self, value: &[u8]) -> Result<M, Reported> {
        M::decode(value).map_err(|error| {
            let name = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
            self.reject(format!("is not a valid {name}: {error}"))
        })
    }

    /// Parses an extension of the given kind with the parser that is registered for its type URL.
    ///
    /// # Errors
    /// When there is no such parser, or it failed.
    pub fn extension(&mut self, kind: ExtensionKind, any: &Any) -> Result<Arc<dyn ExtensionConfig>, Reported> {
        let any = self.unwrap_any(any)?;
        self.parse_extension(kind, &any.type_url, &any.value)
    }

    /// Parses the bytes of an extension of the given kind and type.
    ///
    /// # Errors
    /// When there is no parser for it, or it failed.
    pub fn parse_extension(
        &mut self,
        kind: ExtensionKind,
        type_url: &str,
        value: &[u8],
    ) -> Result<Arc<dyn ExtensionConfig>, Reported> {
        match self.extensions.parser(kind, type_url) {
            Some(parse) => parse(self, value),
            None => Err(self.reject(format!("{kind} {:?} is not supported", message_name(type_url)))),
        }
    }

    /// Why an extension of this kind is passed over without being read, if it is.
    pub fn ignored(&self, kind: ExtensionKind, any: &Any) -> Option<&'static str> {
        self.extensions.ignored(kind, &xds_api::any::inner_type_url(any))
    }

    /// The `Any` itself, or, when it holds a `TypedStruct`, the message that stands for.
    ///
    /// # Errors
    /// When it is empty, or a `TypedStruct` that does not fit the message it names.
    pub fn unwrap_any<'m>(&mut self, any: &'m Any) -> Result<Cow<'m, Any>, Reported> {
        if any.type_url.is_empty() {
            return Err(self.reject("has no type (`@type`)"));
        }
        xds_api::unwrap_any(any).map_err(|errors| {
            for error in errors {
                let reason = format!("is {}, expected {}", error.found, error.expected);
                self.reject_field(&error.path, reason);
            }
            self.reported()
        })
    }

    /// Compiles a text with command operators, where somebody executes them.
    ///
    /// # Errors
    /// When it is not such a text.
    pub fn value_format(&mut self, field: &str, text: &str) -> Result<ValueFormat, Reported> {
        match self.extensions.formats() {
            Some(compile) if text.contains('%') => compile(text)
                .map(ValueFormat::new)
                .map_err(|reason| self.reject_field(field, reason)),
            _ => Ok(ValueFormat::default()),
        }
    }

    /// What reads data from outside of the configuration.
    pub(crate) fn reader(&self) -> Option<crate::extensions::DataReader> {
        self.extensions.reader()
    }

    /// Whether an extension of this kind and type is known.
    pub fn knows(&self, kind: ExtensionKind, type_url: &str) -> bool {
        self.extensions.parser(kind, type_url).is_some()
    }
}
