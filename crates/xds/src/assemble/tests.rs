//! Scripts: what was accepted, what the configuration is.

mod waits;

use std::collections::BTreeSet;

use config::cluster::Cluster;

use super::*;
use crate::decode::Decoder;
use crate::fixtures::{Fixture, FixtureDecoder, fixture, key};

struct Script {
    assembler: Assembler,
    now: Instant,
    /// What is asked for, as `eds:name`.
    asked: BTreeSet<String>,
}

fn script() -> Script {
    with_options(AssemblerOptions {
        cluster_wait: Duration::from_secs(15),
        await_data_plane: false,
    })
}

fn with_options(options: AssemblerOptions) -> Script {
    Script {
        assembler: Assembler::new(options, true),
        now: Instant::now(),
        asked: BTreeSet::new(),
    }
}

fn value(text: &str, fixture: &Fixture) -> Arc<Value> {
    let any = fixture.any(key(text).resource_type);
    let decoded = FixtureDecoder
        .decode(key(text).resource_type, &any)
        .expect("a good fixture");
    Arc::new(Value::received(decoded, any.value))
}

impl Script {
    /// The resource `cds:name` is accepted with these references.
    fn accept(&mut self, text: &str, references: &[&str]) -> &mut Self {
        self.accept_revision(text, references, 0)
    }

    fn accept_revision(&mut self, text: &str, references: &[&str], revision: u32) -> &mut Self {
        let fixture = fixture(&key(text).name, references).revision(revision);
        self.assembler.accept(&key(text), value(text, &fixture));
        self.settle()
    }

    fn fix(&mut self, text: &str, references: &[&str]) -> &mut Self {
        let fixture = fixture(&key(text).name, references);
        self.assembler.accept_static(&key(text), value(text, &fixture));
        self.settle()
    }

    fn remove(&mut self, text: &str) -> &mut Self {
        self.assembler.remove(&key(text));
        self.settle()
    }

    fn reject(&mut self, text: &str) -> &mut Self {
        self.assembler.reject(&key(text));
        self.settle()
    }

    fn seconds(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self.settle()
    }

    fn settle(&mut self) -> &mut Self {
        for interest in self.assembler.settle(self.now) {
            let text = |key: ResourceKey| format!("{}:{}", key.resource_type.short_name(), key.name);
            match interest {
                Interest::Gained(key, _) => assert!(self.asked.insert(text(key))),
                Interest::Lost(key, _) => assert!(self.asked.remove(&text(key))),
            }
        }
        self
    }

    /// What is published: `cds:a eds:e lds:l`.
    fn is(&mut self, expected: &str) -> &mut Self {
        assert_eq!(published(&self.assembler.config), expected);
        self
    }

    fn asks(&mut self, expected: &str) -> &mut Self {
        assert_eq!(self.asked.iter().cloned().collect::<Vec<_>>().join(" "), expected);
        self
    }

    fn cluster(&self, name: &str) -> Arc<Cluster> {
        Arc::clone(self.assembler.config.clusters.get(name).expect("a published cluster"))
    }
}

/// All published names, in the order of types and names.
pub(crate) fn published(config: &Config) -> String {
    let mut names = BTreeSet::new();
    names.extend(config.clusters.keys().map(|name| format!("cds:{name}")));
    names.extend(config.endpoints.keys().map(|name| format!("eds:{name}")));
    names.extend(config.listeners.keys().map(|name| format!("lds:{name}")));
    names.extend(config.routes.keys().map(|name| format!("rds:{name}")));
    names.extend(config.secrets.keys().map(|name| format!("sds:{name}")));
    Vec::from_iter(names).join(" ")
}

#[test]
fn a_cluster_without_dependencies_is_published_at_once() {
    script().accept("cds:c", &[]).is("cds:c").asks("");
}

#[test]
fn a_new_cluster_is_invisible_until_its_endpoints_and_secrets_are_there() {
    script()
        .accept("cds:c", &["eds:e", "sds:s"])
        .is("")
        .asks("eds:e sds:s")
        .accept("eds:e", &[])
        .is("eds:e")
        .accept("sds:s", &[])
        .is("cds:c eds:e sds:s");
}

#[test]
fn an_updated_cluster_keeps_serving_until_the_update_is_warm_and_then_swaps_at_once() {
    let mut script = script();
    script.accept("cds:c", &["eds:a"]).accept("eds:a", &[]);
    let old = script.cluster("c");
    script.accept("cds:c", &["eds:b"]).is("cds:c eds:a").asks("eds:a eds:b");
    assert!(Arc::ptr_eq(&old, &script.cluster("c")));
    script.accept("eds:b", &[]).is("cds:c eds:b").asks("eds:b");
    assert!(!Arc::ptr_eq(&old, &script.cluster("c")));
}

#[test]
fn a_cluster_whose_endpoints_are_known_is_updated_at_once_though_the_server_does_not_repeat_them() {
    let mut script = script();
    script.accept("cds:c", &["eds:e"]).accept("eds:e", &[]);
    let old = script.cluster("c");
    script.accept_revision("cds:c", &["eds:e"], 1).is("cds:c eds:e");
    assert!(!Arc::ptr_eq(&old, &script.cluster("c")));
}

#[test]
fn trap_a_to_b_to_a_while_warming_ends_at_a() {
    let mut script = script();
    script.accept("cds:c", &["eds:a"]).accept("eds:a", &[]);
    let a = script.cluster("c");
    script
        .accept("cds:c", &["eds:b"])
        .accept("cds:c", &["eds:a"])
        .asks("eds:a");
    script.accept("eds:b", &[]).seconds(60).is("cds:c eds:a");
    assert!(Arc::ptr_eq(&a, &script.cluster("c")), "the very same value as before");
    assert_eq!(script.assembler.waiting_of(ResourceType::Cluster), 0);
}

#[test]
fn trap_a_removed_secret_does_not_leave_a_cluster_warming_for_ever() {
    script()
        .accept("cds:c", &["sds!s"])
        .is("")
        .seconds(3600)
        .is("")
        .remove("sds:s")
        .is("cds:c");
}

#[test]
fn trap_routes_are_not_published_before_their_clusters() {
    script()
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:c"])
        .is("")
        .accept("cds:c", &["eds:e"])
        .is("")
        .accept("eds:e", &[])
        .is("cds:c eds:e lds:l rds:r");
}

#[test]
fn a_cluster_that_never_comes_delays_a_route_table_for_fifteen_seconds_and_no_longer() {
    script()
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:never"])
        .seconds(14)
        .is("")
        .seconds(1)
        .is("lds:l rds:r");
}

#[test]
fn a_route_table_that_keeps_changing_while_it_waits_is_not_frozen() {
    let mut script = script();
    script.accept("lds:l", &["rds:r"]);
    for revision in 0..15 {
        script
            .is("")
            .accept_revision("rds:r", &["cds:never"], revision)
            .seconds(1);
    }
    script.is("lds:l rds:r");
}

#[test]
fn a_cluster_that_was_given_up_on_is_not_waited_for_again_by_the_same_table() {
    let mut script = script();
    script
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:never"])
        .seconds(15)
        .is("lds:l rds:r");
    let old = Arc::clone(&script.assembler.config.routes["r"]);
    script.accept_revision("rds:r", &["cds:never"], 1);
    assert!(
        !Arc::ptr_eq(&old, &script.assembler.config.routes["r"]),
        "published at once"
    );
    let old = Arc::clone(&script.assembler.config.routes["r"]);
    script
        .accept_revision("rds:r", &["cds:never", "cds:new"], 2)
        .seconds(14);
    assert!(
        Arc::ptr_eq(&old, &script.assembler.config.routes["r"]),
        "the new one is waited for"
    );
    script.seconds(1);
    assert!(!Arc::ptr_eq(&old, &script.assembler.config.routes["r"]));
}

#[test]
fn a_cluster_that_was_refused_is_not_waited_for_until_it_is_sent_anew() {
    // Whether it is refused before the table comes, or while the table waits.
    script()
        .accept("lds:l", &["rds:r"])
        .reject("cds:bad")
        .accept("rds:r", &["cds:bad"])
        .is("lds:l rds:r")
        .accept("cds:bad", &[])
        .is("cds:bad lds:l rds:r");
    script()
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:bad", "cds:good"])
        .reject("cds:bad")
        .is("")
        .accept("cds:good", &[])
        .is("cds:good lds:l rds:r");
    // A good one that waits for its endpoints is on its way, whatever is refused of it; so may be one that was removed.
    script()
        .accept("lds:l", &["rds:r"])
        .accept("cds:c", &["eds:e"])
        .reject("cds:c")
        .accept("rds:r", &["cds:c"])
        .is("")
        .accept("eds:e", &[])
        .is("cds:c eds:e lds:l rds:r");
    script()
        .accept("lds:l", &["rds:r"])
        .reject("cds:c")
        .remove("cds:c")
        .accept("rds:r", &["cds:c"])
        .is("")
        .accept("cds:c", &[])
        .is("cds:c lds:l rds:r");
}

#[test]
fn make_before_break_keeps_a_removed_cluster_until_no_route_names_it() {
    script()
        .accept("cds:old", &["eds:old", "sds:s"])
        .accept("eds:old", &[])
        .accept("sds:s", &[])
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:old"])
        .remove("cds:old")
        .is("cds:old eds:old lds:l rds:r sds:s")
        .asks("rds:r sds:s")
        .accept("rds:r", &["cds:new"])
        .is("cds:old eds:old lds:l rds:r sds:s")
        .accept("cds:new", &[])
        .is("cds:new lds:l rds:r")
        .asks("rds:r");
}

#[test]
fn make_before_break_keeps_a_removed_cluster_that_a_listener_names_itself() {
    script()
        .accept("cds:c", &[])
        .accept("lds:l", &["cds:c"])
        .remove("cds:c")
        .is("cds:c lds:l")
        .remove("lds:l")
        .is("");
}

#[test]
fn a_removed_cluster_that_comes_back_is_replaced_in_place() {
    let mut script = script();
    script.accept("cds:c", &[]).accept("lds:l", &["cds:c"]).remove("cds:c");
    script
        .accept_revision("cds:c", &[], 1)
        .is("cds:c lds:l")
        .remove("lds:l")
        .is("cds:c");
}

#[test]
fn endpoints_of_a_removed_cluster_serve_on_and_are_asked_for_again_when_it_comes_back() {
    script()
        .accept("cds:c", &["eds:e"])
        .accept("eds:e", &[])
        .accept("lds:l", &["cds:c"])
        .remove("cds:c")
        .is("cds:c eds:e lds:l")
        .asks("")
        // Once more says nothing new.
        .remove("cds:c")
        .accept("cds:c", &["eds:e"])
        .is("cds:c eds:e lds:l")
        .asks("eds:e")
        .remove("cds:c")
        .asks("")
        .accept("cds:c", &["eds:other"])
        .is("cds:c eds:e lds:l")
        .asks("eds:e eds:other")
        .accept("eds:other", &[])
        .is("cds:c eds:other lds:l")
        .asks("eds:other");
}

#[test]
fn endpoints_of_a_removed_cluster_are_asked_for_while_another_needs_them() {
    let mut script = script();
    script
        .accept("cds:one", &["eds:e"])
        .accept("cds:two", &["eds:e"])
        .accept("eds:e", &[])
        .accept("lds:l", &["cds:one", "cds:two"])
        .remove("cds:one")
        .asks("eds:e")
        .remove("cds:two")
        .is("cds:one cds:two eds:e lds:l")
        .asks("")
        .accept("cds:one", &["eds:e"])
        .asks("eds:e")
        .remove("cds:one")
        .remove("lds:l")
        .is("")
        .asks("");
    assert_eq!(script.assembler.tracked(), 0);
}

#[test]
fn a_listener_waits_for_its_route_table() {
    script()
        .accept("lds:l", &["rds:r"])
        .is("")
        .asks("rds:r")
        .accept("rds:r", &[])
        .is("lds:l rds:r");
}

#[test]
fn a_listener_waits_for_its_route_table_as_long_as_initial_fetch_timeout_says() {
    script()
        .accept("lds:l", &["rds:r"])
        .seconds(14)
        .is("")
        .seconds(1)
        .is("lds:l");
    script()
        .accept("lds:l", &["rds!r"])
        .seconds(3600)
        .is("")
        .accept("rds:r", &[])
        .is("lds:l rds:r");
}

#[test]
fn an_updated_listener_keeps_its_routes_until_the_new_ones_are_there() {
    script()
        .accept("lds:l", &["rds:a"])
        .accept("rds:a", &[])
        .accept("lds:l", &["rds:b"])
        .is("lds:l rds:a")
        .asks("rds:a rds:b")
        .accept("rds:b", &[])
        .is("lds:l rds:b")
        .asks("rds:b");
}

#[test]
fn removing_a_listener_drops_what_only_it_needed() {
    script()
        .accept("lds:one", &["rds:r", "sds:s"])
        .accept("lds:two", &["sds:s"])
        .accept("rds:r", &[])
        .accept("sds:s", &[])
        .is("lds:one lds:two rds:r sds:s")
        .remove("lds:one")
        .is("lds:two sds:s")
        .asks("sds:s")
        .remove("lds:two")
        .is("")
        .asks("");
}

#[test]
fn removed_endpoints_and_routes_are_kept_while_they_are_referenced() {
    script()
        .accept("cds:c", &["eds:e"])
        .accept("eds:e", &[])
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &["cds:c"])
        .remove("eds:e")
        .remove("rds:r")
        .is("cds:c eds:e lds:l rds:r")
        .remove("lds:l")
        .remove("cds:c")
        .is("");
}

#[test]
fn endpoints_that_do_not_exist_end_the_warming_of_a_cluster() {
    script()
        .accept("cds:c", &["eds!e"])
        .remove("eds:e")
        .is("cds:c")
        .accept("eds:e", &[])
        .is("cds:c eds:e");
}

#[test]
fn refused_endpoints_end_the_warming_of_a_new_cluster_but_replace_no_working_one() {
    script().accept("cds:c", &["eds!e"]).reject("eds:e").is("cds:c");
    script()
        .accept("cds:c", &["eds:good"])
        .accept("eds:good", &[])
        .accept("cds:c", &["eds!bad"])
        .reject("eds:bad")
        .is("cds:c eds:good")
        .accept("eds:bad", &[])
        .is("cds:c eds:bad");
}

#[test]
fn expired_endpoints_are_taken_away_and_may_come_back() {
    let mut script = script();
    script.accept("cds:c", &["eds:e"]).accept("eds:e", &[]);
    script.assembler.expire(&key("eds:e"));
    script.settle().is("cds:c").accept("eds:e", &[]).is("cds:c eds:e");
}
