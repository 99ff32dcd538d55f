//! What the support tables say of a field is what becomes of it where it stands: each field that they refuse or pass over
//! is set in a resource that is otherwise good, and the answer has to name it by its whole path.
//!
//! The resources, and bootstraps, are in `tests/fields`. A message that none of them has is put into the message that can
//! hold it, with nothing in it but the field that is refused.

mod checked_bootstrap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::bootstrap::Bootstrap;
use config::support::{Field as TableField, Support, Table};
use config::{Extensions, Rejected, Resource, ResourceType, WithoutEffect};

use xds_api::prost::Message as _;
use xds_api::schema::{Field, Kind, MessageType};
use xds_api::{Document, Key, Mark, Node, UnknownFields, Value, encode_document, yaml};

/// What the proxy is told as one message.
#[derive(Clone, Copy, Debug)]
enum Whole {
    Bootstrap,
    Resource(ResourceType),
}

impl Whole {
    fn message(self) -> MessageType {
        let name = match self {
            Self::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
            Self::Resource(resource_type) => resource_type.message(),
        };
        MessageType::named(name).expect("the message is known")
    }
}

const FILES: [(&str, Whole); 6] = [
    ("bootstrap", Whole::Bootstrap),
    ("cluster", Whole::Resource(ResourceType::Cluster)),
    ("endpoints", Whole::Resource(ResourceType::ClusterLoadAssignment)),
    ("listener", Whole::Resource(ResourceType::Listener)),
    ("routes", Whole::Resource(ResourceType::RouteConfiguration)),
    ("secret", Whole::Resource(ResourceType::Secret)),
];

/// Fields whose values have limits, with one that keeps to them.
const VALUES: [(&str, &str); 3] = [
    (
        "envoy.config.core.v3.Http2ProtocolOptions.max_header_field_size_kb",
        "64",
    ),
    (
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector.initial_read_buffer_size",
        "256",
    ),
    ("envoy.config.route.v3.Route.decorator", "{operation: x}"),
];

/// A step from a message to one inside it, or to the fields of an element.
#[derive(Clone, Debug)]
enum Step {
    /// To an entry of a map of the document, by its place.
    Entry(usize),
    /// To an element of a list.
    Element(usize),
}

/// A message of a document.
struct Place {
    /// How it is reached from the root of the document.
    steps: Vec<Step>,
    /// As faults name it.
    path: String,
    message: MessageType,
}

fn tables() -> BTreeMap<&'static str, &'static Table> {
    let all = config::support::tables().into_iter().chain(tls::TABLES);
    all.map(|table| (table.message, table)).collect()
}

fn extensions() -> Extensions {
    let mut extensions = Extensions::new();
    tls::register(&mut extensions);
    proxy::register(&mut extensions);
    extensions
}

fn documents(name: &str) -> Vec<Document> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fields")
        .join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.split("---\n")
        .map(|text| yaml::parse(text, name).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect()
}

/// All messages of a document that have a table.
fn places(node: &Node, message: MessageType) -> Vec<Place> {
    let mut found = Vec::new();
    collect(node, message, &mut Vec::new(), String::new(), &mut found);
    found
}

fn collect(node: &Node, mut message: MessageType, steps: &mut Vec<Step>, path: String, found: &mut Vec<Place>) {
    let Value::Map(entries) = &node.value else { return };
    if message.full_name() == "google.protobuf.Any" {
        let url = entries.iter().find(|(key, _)| *key.text == *"@type");
        let Some(Value::String(url)) = url.map(|(_, node)| &node.value) else {
            return;
        };
        message = MessageType::named(xds_api::type_name(url)).unwrap_or_else(|| panic!("{path}: {url} is unknown"));
    }
    if message.full_name().starts_with("google.protobuf.") {
        return;
    }
    found.push(Place {
        steps: steps.clone(),
        path: path.clone(),
        message,
    });
    for (at, (key, value)) in entries.iter().enumerate() {
        let Some(field) = message.field_named(&key.text) else {
            continue;
        };
        let Kind::Message(inside) = field.kind() else { continue };
        let path = join(&path, field.name());
        steps.push(Step::Entry(at));
        match &value.value {
            Value::Map(elements) if field.is_map() => {
                let value = inside.field(2).map(Field::kind);
                for (at, (key, element)) in elements.iter().enumerate() {
                    if let Some(Kind::Message(inside)) = value {
                        steps.push(Step::Entry(at));
                        collect(element, inside, steps, format!("{path}[{:?}]", key.text), found);
                        steps.pop();
                    }
                }
            }
            Value::List(elements) => {
                for (at, element) in elements.iter().enumerate() {
                    steps.push(Step::Element(at));
                    collect(element, inside, steps, format!("{path}[{at}]"), found);
                    steps.pop();
                }
            }
            _ => collect(value, inside, steps, path, found),
        }
        steps.pop();
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

fn node(value: Value) -> Node {
    Node {
        value,
        mark: Mark::default(),
    }
}

fn key(text: &str) -> Key {
    Key {
        text: text.into(),
        mark: Mark::default(),
    }
}

/// A value of a field that differs from leaving it out.
fn something(field: Field) -> Node {
    let number = || Value::Number("1".into());
    let one = match field.kind() {
        Kind::Bool => Value::Bool(true, "true".into()),
        Kind::String => Value::String("x".into()),
        Kind::Bytes => Value::String("eA==".into()),
        Kind::Enum(values) => {
            let (name, _) = values
                .values()
                .find(|(_, number)| *number != 0)
                .expect("an enum has values");
            Value::String(name.into())
        }
        Kind::Message(entry) if field.is_map() => {
            let value = entry.field(2).expect("an entry has a value");
            return node(Value::Map(vec![(key("x"), something(value))]));
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" => Value::Bool(true, "true".into()),
            "google.protobuf.StringValue" => Value::String("x".into()),
            "google.protobuf.Duration" => Value::String("1s".into()),
            "google.protobuf.Any" => {
                let url = "type.googleapis.com/envoy.config.core.v3.Locality";
                Value::Map(vec![(key("@type"), node(Value::String(url.into())))])
            }
            name if name.starts_with("google.protobuf.") && name.ends_with("Value") => number(),
            _ => Value::Map(Vec::new()),
        },
        _ => number(),
    };
    if field.is_list() {
        return node(Value::List(vec![node(one)]));
    }
    node(one)
}

/// A value of a field of a message with which it is taken, apart from what the tables say.
fn value_of(message: MessageType, field: Field) -> Node {
    let name = format!("{}.{}", message.full_name(), field.name());
    match VALUES.iter().find(|(of, _)| *of == name) {
        Some((_, text)) => yaml::parse(text, &name).expect("a value is YAML").root,
        None => something(field),
    }
}

/// A value of a field that holds messages: one with one of its fields set. And how paths go on to that field.
fn holding(field: Field, inner: Field, value: Node) -> (Node, String) {
    let message = node(Value::Map(vec![(key(inner.name()), value)]));
    if field.is_map() {
        let entry = node(Value::Map(vec![(key("x"), message)]));
        return (entry, format!("{}[\"x\"].{}", field.name(), inner.name()));
    }
    if field.is_list() {
        let list = node(Value::List(vec![message]));
        return (list, format!("{}[0].{}", field.name(), inner.name()));
    }
    (message, format!("{}.{}", field.name(), inner.name()))
}

/// The message that a field holds, in lists and maps too.
fn message_in(field: Field) -> Option<MessageType> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => message_in(entry.field(2)?),
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// The document with a field set in one of its messages.
fn with(document: &Document, place: &Place, field: Field, value: Node) -> Document {
    let mut changed = document.clone();
    let mut at = &mut changed.root;
    for step in &place.steps {
        at = match (&mut at.value, step) {
            (Value::Map(entries), Step::Entry(index)) => &mut entries[*index].1,
            (Value::List(elements), Step::Element(index)) => &mut elements[*index],
            _ => unreachable!("the steps were taken from this document"),
        };
    }
    let Value::Map(entries) = &mut at.value else {
        unreachable!("a place is a message")
    };
    // Of a oneof there can be one.
    entries.retain(|(key, _)| {
        place.message.field_named(&key.text).is_none_or(|other| {
            other.name() != field.name() && (field.oneof().is_none() || other.oneof() != field.oneof())
        })
    });
    entries.push((key(field.name()), value));
    changed
}

/// What is said of a resource: its faults, or what has no effect in it; paths with reasons.
enum Answer {
    Refused(Vec<(String, String)>),
    Accepted(Vec<(String, String)>),
}

fn answer(document: &Document, whole: Whole, extensions: &Extensions) -> Answer {
    let bytes = encode_document(document, whole.message(), UnknownFields::Reject)
        .unwrap_or_else(|errors| panic!("{whole:?}: {errors:?}"));
    let parsed = match whole {
        Whole::Bootstrap => {
            let message = xds_api::envoy::config::bootstrap::v3::Bootstrap::decode(&*bytes).expect("it was encoded");
            Bootstrap::parse(&message, extensions).map(|parsed| parsed.without_effect)
        }
        Whole::Resource(resource_type) => {
            Resource::parse(resource_type, &bytes, extensions).map(|parsed| parsed.without_effect)
        }
    };
    let noted = |noted: &WithoutEffect| (noted.path.as_str().to_owned(), noted.reason.to_owned());
    let refused = |fault: &Rejected| (fault.path.as_str().to_owned(), fault.reason.clone());
    match parsed {
        Ok(without_effect) => Answer::Accepted(without_effect.iter().map(noted).collect()),
        Err(faults) => Answer::Refused(faults.iter().map(refused).collect()),
    }
}

/// What is wrong with the answer to a document in which a field of a table is set.
fn fault(field: &TableField, path: &str, answer: &Answer) -> Option<String> {
    let names =
        |list: &[(String, String)], why: &str| list.iter().any(|(named, reason)| named == path && reason.contains(why));
    let right = match (field.support, answer) {
        (Support::Rejected { why }, Answer::Refused(faults)) => names(faults, why),
        (Support::WithoutEffect { why }, Answer::Accepted(noted)) => names(noted, why),
        // Other faults may follow from setting it; that nobody knows it may not.
        (Support::Supported { .. }, Answer::Refused(faults)) => !names(faults, "is not supported: "),
        // Beside other fields it may not count, and that is noted.
        (Support::Supported { .. }, Answer::Accepted(_)) => true,
        _ => false,
    };
    let said = || match answer {
        Answer::Refused(faults) => format!("refused: {faults:?}"),
        Answer::Accepted(noted) => format!("accepted; without effect: {noted:?}"),
    };
    (!right).then(|| format!("{path}: {:?}, but it is {}", field.support, said()))
}

/// The good bootstraps and resources, by file and place in it.
fn samples() -> Vec<(String, Whole, Document)> {
    let of_file = |(name, whole): (&str, Whole)| {
        let numbered = documents(name).into_iter().enumerate();
        let named = numbered.map(|(number, document)| (format!("{name} {number}"), whole, document));
        named.collect::<Vec<_>>()
    };
    FILES.into_iter().flat_map(of_file).collect()
}

#[test]
fn every_field_is_refused_or_noted_by_its_path_wherever_it_stands() {
    let (tables, extensions) = (tables(), extensions());
    let mut wrong = Vec::new();
    for (name, whole, document) in samples() {
        if let Answer::Refused(faults) = answer(&document, whole, &extensions) {
            wrong.push(format!("{name} has to be good: {faults:?}"));
            continue;
        }
        for place in places(&document.root, whole.message()) {
            let Some(table) = tables.get(place.message.full_name()) else {
                continue;
            };
            for field in table.fields {
                let proto = place.message.field_named(field.name()).expect("a field of the table");
                let changed = with(&document, &place, proto, value_of(place.message, proto));
                let answer = answer(&changed, whole, &extensions);
                let fault = fault(field, &join(&place.path, field.name()), &answer);
                wrong.extend(fault.map(|fault| format!("{name}: {} {fault}", table.message)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn refused_fields_of_messages_that_no_sample_has_are_refused_by_their_path_too() {
    let (tables, extensions) = (tables(), extensions());
    let mut seen = BTreeSet::new();
    for (_, whole, document) in samples() {
        let places = places(&document.root, whole.message());
        seen.extend(places.iter().map(|place| place.message.full_name()));
    }
    let (mut wrong, mut tried) = (Vec::new(), BTreeSet::new());
    for (name, whole, document) in samples() {
        for place in places(&document.root, whole.message()) {
            let Some(table) = tables.get(place.message.full_name()) else {
                continue;
            };
            let supported = |field: &&TableField| matches!(field.support, Support::Supported { .. });
            for field in table.fields.iter().filter(supported) {
                let proto = place.message.field_named(field.name()).expect("a field of the table");
                let Some(inside) = message_in(proto).filter(|inside| !seen.contains(inside.full_name())) else {
                    continue;
                };
                let refused = |field: &&TableField| matches!(field.support, Support::Rejected { .. });
                let fields = tables.get(inside.full_name()).map_or(&[][..], |table| table.fields);
                for inner in fields.iter().filter(refused) {
                    if !tried.insert((table.message, field.name(), inner.name())) {
                        continue;
                    }
                    let inner_proto = inside.field_named(inner.name()).expect("a field of the table");
                    let (value, path) = holding(proto, inner_proto, value_of(inside, inner_proto));
                    let changed = with(&document, &place, proto, value);
                    let answer = answer(&changed, whole, &extensions);
                    let fault = fault(inner, &join(&place.path, &path), &answer);
                    wrong.extend(fault.map(|fault| format!("{name}: {} {fault}", inside.full_name())));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// Of each message that is in a bootstrap and in no other resource there is a sample: without one nothing is tried.
#[test]
fn each_message_of_the_bootstrap_has_a_sample() {
    let mut seen = BTreeSet::new();
    for (_, whole, document) in samples() {
        if let Whole::Bootstrap = whole {
            let places = places(&document.root, whole.message());
            seen.extend(places.iter().map(|place| place.message.full_name()));
        }
    }
    let of_the_bootstrap = |table: &&&str| {
        let packages = [
            "envoy.config.bootstrap.v3.",
            "envoy.config.metrics.v3.",
            "envoy.config.core.v3.Node",
        ];
        packages.iter().any(|package| table.starts_with(package))
    };
    let tables = tables();
    let missing: Vec<_> = tables
        .keys()
        .filter(of_the_bootstrap)
        .filter(|name| !seen.contains(**name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
