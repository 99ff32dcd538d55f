//! The query string of `/stats`.

use regex::Regex;

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `name: value` lines.
    #[default]
    Text,
    /// One object with the list `stats`.
    Json,
    /// The Prometheus text exposition format 0.0.4.
    Prometheus,
}

impl Format {
    /// The content type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Text | Format::Prometheus => "text/plain; charset=UTF-8",
        }
    }
}

/// Which kinds of statistics are shown (`type=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "Envoy's own words for its kinds")]
pub enum Kinds {
    #[default]
    All,
    Counters,
    Gauges,
    Histograms,
    TextReadouts,
}

impl Kinds {
    pub(super) fn counters(self) -> bool {
        matches!(self, Kinds::All | Kinds::Counters)
    }

    pub(super) fn gauges(self) -> bool {
        matches!(self, Kinds::All | Kinds::Gauges)
    }

    pub(super) fn histograms(self) -> bool {
        matches!(self, Kinds::All | Kinds::Histograms)
    }

    pub(super) fn texts(self) -> bool {
        matches!(self, Kinds::All | Kinds::TextReadouts)
    }
}

/// How histograms are shown (`histogram_buckets=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramBuckets {
    /// Percentiles; in Prometheus, cumulative buckets.
    #[default]
    Unset,
    /// Buckets, each counting what is at most its bound.
    Cumulative,
    /// Buckets, each counting what is between its bound and the one before.
    Disjoint,
    /// The histogram's own bins, and percentiles.
    Detailed,
    /// Percentiles, also in Prometheus.
    Summary,
}

/// What `/stats` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The format.
    pub format: Format,
    /// Only statistics that were written since the start.
    pub used_only: bool,
    /// Only statistics whose name matches.
    pub filter: Option<Regex>,
    /// Only statistics of these kinds.
    pub kinds: Kinds,
    /// How histograms are shown.
    pub histogram_buckets: HistogramBuckets,
    /// Prometheus only: show texts as gauges with the value 0 and the label `text_value`.
    pub text_readouts: bool,
}

/// A query that has no meaning; the message is what Envoy answers with status 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

impl Query {
    /// Reads the part of the URL behind the question mark. Parameters nobody knows are ignored, as
    /// Envoy does.
    pub fn parse(query: &str) -> Result<Query, QueryError> {
        let mut parsed = Query::default();
        for (key, value) in query.split('&').map(|part| part.split_once('=').unwrap_or((part, ""))) {
            let value = percent_decode(value);
            match key {
                "usedonly" => parsed.used_only = true,
                "text_readouts" => parsed.text_readouts = true,
                "filter" if !value.is_empty() => {
                    let filter = Regex::new(&value);
                    let fault = |error| QueryError(format!("Invalid re2 regex: {}", regex_fault(&error)));
                    parsed.filter = Some(filter.map_err(fault)?);
                }
                "format" => {
                    parsed.format = match value.as_str() {
                        "text" | "" => Format::Text,
                        "json" => Format::Json,
                        "prometheus" => Format::Prometheus,
                        _ => return Err(QueryError("usage: /stats?format=(json|prometheus|text)\n\n".into())),
                    }
                }
                "type" => {
                    parsed.kinds = match value.as_str() {
                        "All" | "" => Kinds::All,
                        "Counters" => Kinds::Counters,
                        "Gauges" => Kinds::Gauges,
                        "Histograms" => Kinds::Histograms,
                        "TextReadouts" => Kinds::TextReadouts,
                        _ => return Err(QueryError("invalid &type= param".into())),
                    }
                }
                "histogram_buckets" => {
                    parsed.histogram_buckets = match value.as_str() {
                        "" | "none" => HistogramBuckets::Unset,
                        "cumulative" => HistogramBuckets::Cumulative,
                        "disjoint" => HistogramBuckets::Disjoint,
                        "detailed" => HistogramBuckets::Detailed,
                        "summary" => HistogramBuckets::Summary,
                        _ => {
                            return Err(QueryError(
                                "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n".into(),
                            ));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether Prometheus has a form for the histograms that were asked for.
    ///
    /// # Errors
    /// It has none: what Envoy answers with status 400.
    pub fn fits_prometheus(&self) -> Result<(), QueryError> {
        match self.histogram_buckets {
            HistogramBuckets::Disjoint | HistogramBuckets::Detailed => {
                Err(QueryError("unsupported prometheus histogram bucket mode".into()))
            }
            HistogramBuckets::Unset | HistogramBuckets::Cumulative | HistogramBuckets::Summary => Ok(()),
        }
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.is_match(name))
    }
}

/// What is wrong with a regular expression, in one line.
pub fn regex_fault(error: &regex::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once("error: ") {
        Some((_, fault)) => fault.trim_end().to_owned(),
        None => text,
    }
}

/// Undoes percent encoding and `+` for a space; what is not an escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
                digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low)
            }
            _ => None,
        };
        match escape {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
