//! The text of a NACK: every fault of a response, in bounded size.

use std::fmt::Write;

use config::{Rejected, ResourceType};

/// Limit on the text of one NACK, in bytes. Servers log it and some put it in a status field; gRPC trailers and istiod's
/// push status are no place for megabytes.
const MAXIMUM_LENGTH: usize = 16 << 10;

/// Faults of one response, collected.
#[derive(Debug)]
pub(super) struct Refusal {
    resource_type: ResourceType,
    text: String,
    /// Faulty resources, and how many of them no longer fit.
    resources: usize,
    omitted: usize,
}

impl Refusal {
    pub(super) fn new(resource_type: ResourceType) -> Self {
        Self {
            resource_type,
            text: String::new(),
            resources: 0,
            omitted: 0,
        }
    }

    /// Adds what is wrong with one resource; `place` is its index in the response, for one without a name.
    pub(super) fn add(&mut self, name: Option<&str>, place: usize, details: &str) {
        self.resources += 1;
        if self.text.len() + details.len() > MAXIMUM_LENGTH && self.resources > 1 {
            self.omitted += 1;
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        let resource_type = self.resource_type;
        // Writing to a String cannot fail.
        let _ = match name {
            Some(name) => write!(self.text, "{resource_type} {name:?}: "),
            None => write!(self.text, "resources[{place}]: "),
        };
        self.text.push_str(truncated(details, MAXIMUM_LENGTH));
    }

    /// The text for the NACK; none when nothing is wrong.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.resources == 0 {
            return None;
        }
        if self.omitted > 0 {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "; and {} more resources", self.omitted);
        }
        Some(self.text)
    }
}

/// All faults of one resource as one text.
pub(super) fn describe(faults: &[Rejected]) -> String {
    let mut text = String::new();
    for fault in faults {
        if text.len() > MAXIMUM_LENGTH {
            break;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{fault}");
    }
    if text.len() > MAXIMUM_LENGTH {
        text.truncate(text.floor_char_boundary(MAXIMUM_LENGTH));
        text.push_str("...");
    }
    text
}

/// At most `limit` bytes of a text, whole characters.
fn truncated(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_faulty_resource_is_named_with_its_faults() {
        let mut refusal = Refusal::new(ResourceType::Cluster);
        refusal.add(
            Some("a"),
            0,
            &describe(&[
                Rejected::new("lb_policy", "MAGLEV2 is unknown"),
                Rejected::new("name", "is empty"),
            ]),
        );
        refusal.add(None, 3, "cannot be decoded");
        let text = refusal.finish().expect("there are faults");
        assert_eq!(
            text,
            r#"Cluster "a": lb_policy: MAGLEV2 is unknown, name: is empty; resources[3]: cannot be decoded"#
        );
    }

    #[test]
    fn ten_thousand_faults_make_a_bounded_text_that_says_how_many_are_missing() {
        let mut refusal = Refusal::new(ResourceType::Listener);
        for index in 0..10_000 {
            refusal.add(Some(&format!("listener-{index}")), index, &"x".repeat(100));
        }
        let text = refusal.finish().expect("there are faults");
        assert!(text.len() < MAXIMUM_LENGTH + 1024, "{}", text.len());
        assert!(text.ends_with("more resources"), "{}", &text[text.len() - 40..]);
    }

    #[test]
    fn one_huge_fault_is_cut_between_characters() {
        let mut refusal = Refusal::new(ResourceType::Secret);
        refusal.add(Some("s"), 0, &"ä".repeat(MAXIMUM_LENGTH));
        assert!(refusal.finish().is_some_and(|text| text.len() <= MAXIMUM_LENGTH + 100));
    }

    #[test]
    fn no_fault_is_no_refusal() {
        assert_eq!(Refusal::new(ResourceType::Secret).finish(), None);
    }
}
