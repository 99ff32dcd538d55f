//! Fields that HTTPRoute and GRPCRoute have in common. Their generated types differ in
//! name only, so what cannot be a function of plain values is a macro.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::route::{BackendRef, HeaderChanges, Parent, PathRewrite};
use super::service_policy::parse_duration;

/// Collects every fault of an object, so that all of them are told at once.
#[derive(Debug, Default)]
pub(super) struct Fields {
    faults: Vec<(String, String)>,
}

impl Fields {
    pub(super) fn wrong(&mut self, path: &str, reason: &str) {
        self.faults.push((path.to_owned(), reason.to_owned()));
    }

    pub(super) fn unsupported(&mut self, path: &str, why: &str) {
        self.faults.push((path.to_owned(), format!("not supported: {why}")));
    }

    pub(super) fn duration(&mut self, path: &str, text: Option<&str>) -> Option<Duration> {
        match parse_duration(text?) {
            Ok(duration) => Some(duration),
            Err(reason) => {
                self.wrong(path, &reason);
                None
            }
        }
    }

    pub(super) fn port(&mut self, path: &str, port: i32) -> Option<u16> {
        let found = u16::try_from(port).ok().filter(|port| *port > 0);
        if found.is_none() {
            self.wrong(path, &format!("found {port}, expected 1 to 65535"));
        }
        found
    }

    /// What was read, if nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<(String, String)>> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(self.faults)
        }
    }
}

/// Faults of one filter, whose fields are named from it.
pub(super) struct FilterFields<'a> {
    pub(super) fields: &'a mut Fields,
    base: String,
}

impl<'a> FilterFields<'a> {
    pub(super) fn new(fields: &'a mut Fields, base: String) -> Self {
        Self { fields, base }
    }

    pub(super) fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.base)
    }

    pub(super) fn wrong(&mut self, field: &str, reason: &str) {
        let path = self.path(field);
        self.fields.wrong(&path, reason);
    }

    /// The part that the filter's type calls for.
    pub(super) fn required<'b, T>(&mut self, field: &str, part: Option<&'b T>) -> Option<&'b T> {
        if part.is_none() {
            self.wrong(field, "missing, though the filter's type calls for it");
        }
        part
    }

    pub(super) fn unsupported(&mut self, field: &str) {
        let path = self.path(field);
        self.fields.unsupported(&path, &format!("no {field} filter"));
    }

    pub(super) fn unsupported_at_backend(&mut self, field: &str) {
        let path = self.path(field);
        self.fields
            .unsupported(&path, &format!("{field} works on a rule, not on one of its backends"));
    }

    pub(super) fn port(&mut self, field: &str, port: i32) -> Option<u16> {
        let path = self.path(field);
        self.fields.port(&path, port)
    }

    pub(super) fn path_rewrite(
        &mut self,
        field: &str,
        full: Option<&String>,
        prefix: Option<&String>,
    ) -> Option<PathRewrite> {
        match (full, prefix) {
            (Some(path), None) => Some(PathRewrite::Full(path.clone())),
            (None, Some(prefix)) => Some(PathRewrite::Prefix(prefix.clone())),
            _ => {
                self.wrong(field, "exactly one of replaceFullPath and replacePrefixMatch is needed");
                None
            }
        }
    }

    pub(super) fn header_changes(
        &mut self,
        field: &str,
        set: Vec<(&str, &str)>,
        add: Vec<(&str, &str)>,
        remove: &[String],
    ) -> HeaderChanges {
        let base = self.path(field);
        let mut named = |part: &str, entries: Vec<(&str, &str)>| -> Vec<(String, String)> {
            let mut found: Vec<(String, String)> = Vec::new();
            for (index, (name, value)) in entries.into_iter().enumerate() {
                // Of entries with one name only the first counts (HTTPHeaderFilter).
                if let Some(name) = header_name(self.fields, &format!("{base}.{part}[{index}].name"), name)
                    && found.iter().all(|(earlier, _)| *earlier != name)
                {
                    found.push((name, value.to_owned()));
                }
            }
            found
        };
        let set = named("set", set);
        let add = named("add", add);
        let remove = remove.iter().enumerate();
        let remove = remove
            .filter_map(|(index, name)| header_name(self.fields, &format!("{base}.remove[{index}]"), name))
            .collect();
        HeaderChanges { set, add, remove }
    }
}

/// [`HeaderChanges`] of any of the generated header modifier types.
macro_rules! header_changes_of {
    ($fields:expr, $changes:expr, $name:literal) => {{
        let set = $changes
            .set
            .iter()
            .flatten()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        let add = $changes
            .add
            .iter()
            .flatten()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        $fields.header_changes($name, set, add, $changes.remove.as_deref().unwrap_or_default())
    }};
}
pub(super) use header_changes_of;

/// A Service parent. Gateways are other proxies' parents, so a route may name both: what
/// is not a Service is passed over, and the route is not attached there.
pub(super) fn parent(
    fields: &mut Fields,
    path: String,
    (group, kind): (Option<&str>, Option<&str>),
    (namespace, name): (Option<&str>, &str),
    port: Option<i32>,
    section_name: Option<&str>,
) -> Option<Parent> {
    // The defaults are a Gateway's (ParentReference).
    if !matches!(group, Some("" | "core")) || kind != Some("Service") {
        return None;
    }
    if section_name.is_some() {
        fields.unsupported(&format!("{path}.sectionName"), "name the Service's port by `port`");
    }
    let port = match port {
        Some(port) => Some(fields.port(&format!("{path}.port"), port)?),
        None => None,
    };
    Some(Parent {
        path,
        namespace: namespace.map(Into::into),
        name: name.into(),
        port,
    })
}

/// A reference to a Service's port.
pub(super) fn backend_ref(
    fields: &mut Fields,
    path: &str,
    (group, kind): (Option<&str>, Option<&str>),
    (namespace, name): (Option<&str>, &str),
    port: Option<i32>,
) -> Option<BackendRef> {
    if !matches!(group, None | Some("" | "core")) || !matches!(kind, None | Some("Service")) {
        let found = format!("{}/{}", group.unwrap_or_default(), kind.unwrap_or("Service"));
        fields.unsupported(&format!("{path}.kind"), &format!("found {found}, expected a Service"));
        return None;
    }
    let Some(port) = port else {
        fields.wrong(
            &format!("{path}.port"),
            "missing: a Service is referred to with its port",
        );
        return None;
    };
    Some(BackendRef {
        namespace: namespace.map(Into::into),
        name: name.into(),
        port: fields.port(&format!("{path}.port"), port)?,
    })
}

/// A backend's weight: 1 where none is given.
pub(super) fn weight(fields: &mut Fields, path: &str, weight: Option<i32>) -> Option<u32> {
    let weight = weight.unwrap_or(1);
    match u32::try_from(weight) {
        Ok(weight @ 0..=1_000_000) => Some(weight),
        _ => {
            fields.wrong(
                &format!("{path}.weight"),
                &format!("found {weight}, expected 0 to 1000000"),
            );
            None
        }
    }
}

/// The share of requests mirrored, as numerator and denominator.
pub(super) fn fraction(
    fields: &mut Fields,
    path: &str,
    fraction: Option<(i32, Option<i32>)>,
    percent: Option<i32>,
) -> (u32, u32) {
    let (numerator, denominator) = match (fraction, percent) {
        (Some(_), Some(_)) => {
            fields.wrong(path, "percent and fraction exclude each other");
            return (0, 100);
        }
        (Some((numerator, denominator)), None) => (numerator, denominator.unwrap_or(100)),
        (None, percent) => (percent.unwrap_or(100), 100),
    };
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 && numerator <= denominator => (numerator, denominator),
        _ => {
            fields.wrong(
                path,
                &format!("found {numerator}/{denominator}, expected a share from 0 to 1"),
            );
            (0, 100)
        }
    }
}

/// A header field's name in lower case, if it is a token (RFC 9110, section 5.6.2).
pub(super) fn header_name(fields: &mut Fields, path: &str, name: &str) -> Option<String> {
    match http::HeaderName::try_from(name) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            fields.wrong(path, &format!("found \"{name}\", expected a header field name"));
            None
        }
    }
}

/// A path to match, which must be absolute.
pub(super) fn path_value(fields: &mut Fields, path: &str, value: String) -> String {
    if !value.starts_with('/') {
        fields.wrong(
            path,
            &format!("found \"{value}\", expected a path that starts with \"/\""),
        );
    }
    value
}

/// A regular expression in RE2's syntax.
pub(super) fn regex(fields: &mut Fields, path: &str, text: &str) -> Option<Regex> {
    match Regex::new(text) {
        Ok(expression) => Some(expression),
        Err(error) => {
            // The last line of the message says what; those before draw where.
            let reason = error.to_string();
            let what = reason
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            fields.wrong(path, &format!("\"{text}\" is not a regular expression: {what}"));
            None
        }
    }
}

impl Parent {
    /// The Service's namespace, given the route's.
    pub fn namespace_or<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        self.namespace.as_ref().unwrap_or(own)
    }
}

impl BackendRef {
    /// The Service's namespace, given the route's.
    pub fn namespace_or<'a>(&'a self, own: &'a Arc<str>) -> &'a Arc<str> {
        self.namespace.as_ref().unwrap_or(own)
    }
}
