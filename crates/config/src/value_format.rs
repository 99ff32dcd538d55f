//! Texts with command operators (`%REQ(name)%`), compiled by the crate that executes them.

use std::sync::Arc;

use crate::context::Context;
use crate::extensions::ExtensionConfig;
use crate::rejected::Reported;
use crate::shared_str::shared;

/// What a text with command operators was compiled to. It stands beside its text and means the same, so that any two
/// are equal: the texts are what is compared.
#[derive(Debug, Clone, Default)]
pub struct ValueFormat(Option<Arc<dyn ExtensionConfig>>);

impl ValueFormat {
    pub(crate) fn new(compiled: Arc<dyn ExtensionConfig>) -> Self {
        Self(Some(compiled))
    }

    /// The compiled text as a `T`; `None` for a text without operators.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.get()
    }
}

impl PartialEq for ValueFormat {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A text with command operators, as written and compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct FormattedText {
    /// As written.
    pub text: Arc<str>,
    /// Compiled, where it has operators.
    pub format: ValueFormat,
}

impl FormattedText {
    /// Parses a text; an empty one is none.
    ///
    /// # Errors
    /// When it is no such text.
    pub fn parse(context: &mut Context<'_>, field: &str, text: &str) -> Result<Option<Self>, Reported> {
        if text.is_empty() {
            return Ok(None);
        }
        let format = context.value_format(field, text)?;
        Ok(Some(Self {
            text: shared(text),
            format,
        }))
    }
}
