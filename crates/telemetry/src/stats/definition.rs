//! What a statistic is: name, kind, and the names Prometheus gives it.

/// A monotonically growing count of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub(crate) u16);

/// A value that rises and falls, of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge(pub(crate) u16);

/// A distribution of integers (milliseconds unless its name says otherwise), of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram(pub(crate) u16);

/// Counters of HTTP status codes, one per code, of one table. A code appears once it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes(pub(crate) u16);

/// A text, such as a configuration's version (Envoy: text readout), of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text(pub(crate) u16);

/// One statistic: its name below the block's prefix and how Prometheus shows it.
#[derive(Debug)]
pub struct StatDef {
    /// Envoy's name, without the block's prefix.
    pub name: &'static str,
    /// The name with tags taken out, where it differs (`ssl.ciphers` for `ssl.ciphers.TLS_AES_...`).
    pub metric: &'static str,
    /// The tag that was taken out: Prometheus label and value.
    pub tag: Option<(&'static str, &'static str)>,
    /// Shown only once it was used, as Envoy does with names it makes on the way.
    pub when_used: bool,
}

/// The statistics that blocks of one type have. Made by one `stat_table!` each; the constants beside a
/// table are the only way to name its entries.
#[derive(Debug)]
pub struct Table {
    pub(crate) counters: &'static [StatDef],
    pub(crate) gauges: &'static [StatDef],
    pub(crate) histograms: &'static [StatDef],
    pub(crate) codes: &'static [StatDef],
    pub(crate) texts: &'static [StatDef],
}

impl Table {
    /// Every entry of the table, for documentation and tests.
    pub fn entries(&self) -> impl Iterator<Item = &'static StatDef> {
        [self.counters, self.gauges, self.histograms, self.codes, self.texts]
            .into_iter()
            .flatten()
    }
}

/// Declares a table: a module with `TABLE` and one constant per statistic.
macro_rules! stat_table {
    (
        $(#[$doc:meta])*
        pub mod $module:ident {
            $(counters { $($counter:ident = $counter_name:literal $(as $cm:literal tagged $ct:literal = $cv:literal)? $(: $cu:ident)?,)* })?
            $(gauges { $($gauge:ident = $gauge_name:literal $(: $gu:ident)?,)* })?
            $(histograms { $($histogram:ident = $histogram_name:literal $(: $hu:ident)?,)* })?
            $(codes { $($codes:ident = $codes_name:literal,)* })?
            $(texts { $($text:ident = $text_name:literal $(: $tu:ident)?,)* })?
        }
    ) => {
        $(#[$doc])*
        pub mod $module {
            #[allow(unused_imports, reason = "a table has not every kind")]
            use crate::stats::definition::{Codes, Counter, Gauge, Histogram, Table, Text, definition};

            #[allow(non_camel_case_types, clippy::upper_case_acronyms, clippy::enum_variant_names, reason = "positions in the table, never seen outside")]
            mod position {
                pub(super) enum Counters { $($($counter,)*)? Len }
                #[allow(dead_code, reason = "a table may have no gauges")]
                pub(super) enum Gauges { $($($gauge,)*)? Len }
                #[allow(dead_code, reason = "a table may have no histograms")]
                pub(super) enum Histograms { $($($histogram,)*)? Len }
                #[allow(dead_code, reason = "a table may have no codes")]
                pub(super) enum CodesOf { $($($codes,)*)? Len }
                #[allow(dead_code, reason = "a table may have no texts")]
                pub(super) enum Texts { $($($text,)*)? Len }
            }

            /// What a block of this kind counts.
            pub static TABLE: Table = Table {
                counters: &[$($(definition!($counter_name $(as $cm tagged $ct = $cv)? $($cu)?),)*)?],
                gauges: &[$($(definition!($gauge_name $($gu)?),)*)?],
                histograms: &[$($(definition!($histogram_name $($hu)?),)*)?],
                codes: &[$($(definition!($codes_name),)*)?],
                texts: &[$($(definition!($text_name $($tu)?),)*)?],
            };

            #[allow(dead_code, reason = "a table may have no gauges")]
            const FIRST_GAUGE: u16 = position::Counters::Len as u16;
            $($(
                #[doc = concat!("Counter `", $counter_name, "`.")]
                pub const $counter: Counter = Counter(position::Counters::$counter as u16);
            )*)?
            $($(
                #[doc = concat!("Gauge `", $gauge_name, "`.")]
                pub const $gauge: Gauge = Gauge(FIRST_GAUGE + position::Gauges::$gauge as u16);
            )*)?
            $($(
                #[doc = concat!("Histogram `", $histogram_name, "`.")]
                pub const $histogram: Histogram = Histogram(position::Histograms::$histogram as u16);
            )*)?
            $($(
                #[doc = concat!("Counters `", $codes_name, "<status>`.")]
                pub const $codes: Codes = Codes(position::CodesOf::$codes as u16);
            )*)?
            $($(
                #[doc = concat!("Text `", $text_name, "`.")]
                pub const $text: Text = Text(position::Texts::$text as u16);
            )*)?
        }
    };
}

/// One `StatDef` of a `stat_table!`.
macro_rules! definition {
    ($name:literal) => {
        crate::stats::definition::StatDef {
            name: $name,
            metric: $name,
            tag: None,
            when_used: false,
        }
    };
    ($name:literal when_used) => {
        crate::stats::definition::StatDef {
            name: $name,
            metric: $name,
            tag: None,
            when_used: true,
        }
    };
    ($name:literal as $metric:literal tagged $tag:literal = $value:literal) => {
        crate::stats::definition::StatDef {
            name: $name,
            metric: $metric,
            tag: Some(($tag, $value)),
            when_used: false,
        }
    };
    ($name:literal as $metric:literal tagged $tag:literal = $value:literal when_used) => {
        crate::stats::definition::StatDef {
            name: $name,
            metric: $metric,
            tag: Some(($tag, $value)),
            when_used: true,
        }
    };
}

pub(crate) use {definition, stat_table};
