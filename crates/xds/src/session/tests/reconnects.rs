//! Broken streams, and the timers that run only while a stream is open.

use super::*;

#[test]
fn after_a_reconnect_all_names_are_sent_with_the_version_and_without_nonce() {
    let mut script = script(Variant::StateOfTheWorld);
    script.session.subscribe_all(CDS);
    script.subscribe(EDS, &["a"]);
    script.session.stream_opened(0);
    script.says();
    script.says();
    script.acknowledges(CDS, "7", "n1", &["x"], None);
    script.acknowledges(EDS, "9", "n2", &["a"], None);
    script.held.0 = [((CDS, "x"), "7"), ((EDS, "a"), "9")].into();
    script.session.stream_closed();
    script.says_in_turn(&[]);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds v=7 n= [] node", "eds v=9 n= [a]"]);
}

#[test]
fn trap_cds_is_asked_for_again_after_a_reconnect() {
    for (variant, line) in [
        (Variant::StateOfTheWorld, "cds v=1 n= [] node"),
        (Variant::Delta, "cds have={x: 1} node"),
    ] {
        let mut script = script(variant);
        script.session.subscribe_all(CDS);
        script.session.stream_opened(0);
        script.says();
        script.acknowledges(CDS, "1", "n", &["x"], None);
        script.held.0 = [((CDS, "x"), "1")].into();
        for _ in 0..3 {
            script.session.stream_closed();
            script.session.stream_opened(0);
            script.says_in_turn(&[line]);
        }
    }
}

#[test]
fn delta_reconnect_claims_initial_versions_in_the_first_message_of_each_type_only() {
    let mut script = script(Variant::Delta);
    script.session.subscribe_all(CDS);
    script.subscribe(EDS, &["a", "b"]);
    script.held.0 = [((CDS, "x"), "3"), ((EDS, "a"), "4"), ((EDS, "gone"), "5")].into();
    script.session.stream_opened(0);
    script.says_in_turn(&["cds have={x: 3} node", "eds +[a, b] have={a: 4}"]);
    script.subscribe(EDS, &["c"]);
    script.says_in_turn(&["eds +[c]"]);
}

#[test]
fn trap_eds_versions_are_not_claimed_for_endpoints_that_were_forgotten() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["a"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "9", "n", &["a"], None);
    script.says();
    script.session.stream_closed();
    // Nothing is held for `a` any more: claiming version 9 would keep the server from sending it.
    script.session.stream_opened(0);
    script.says_in_turn(&["eds v= n= [a] node"]);
}

#[test]
fn nonces_and_unsent_acknowledgements_die_with_the_stream() {
    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let mut script = script(variant);
        script.session.subscribe_all(CDS);
        script.session.stream_opened(0);
        script.says();
        script.acknowledges(CDS, "1", "old", &["x"], Some("bad"));
        script.session.stream_closed();
        script.session.stream_opened(0);
        assert!(!script.says().contains("old"));
        script.says_in_turn(&[]);
    }
}

#[test]
fn the_does_not_exist_timer_runs_from_the_request_on_a_connected_stream() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(RDS, &["r"]);
    script.seconds(60);
    assert_eq!(script.session.deadline(), None, "not asked yet");
    script.session.stream_opened(0);
    script.says();
    script.seconds(14);
    assert_eq!(script.session.timed_out(script.now), []);
    script.seconds(1);
    assert_eq!(script.session.timed_out(script.now), [ResourceKey::new(RDS, "r")]);
    assert_eq!(script.session.timed_out(script.now), [], "once");
}

#[test]
fn the_does_not_exist_timer_starts_over_when_the_stream_breaks_before_an_answer() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(RDS, &["r"]);
    script.session.stream_opened(0);
    script.says();
    script.seconds(10);
    script.session.stream_closed();
    script.seconds(100);
    assert_eq!(script.session.timed_out(script.now), []);
    script.session.stream_opened(0);
    script.says();
    script.seconds(14);
    assert_eq!(script.session.timed_out(script.now), []);
    script.seconds(1);
    assert_eq!(script.session.timed_out(script.now).len(), 1);
}

#[test]
fn no_does_not_exist_timer_runs_for_a_resource_that_was_answered_once() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(RDS, &["sent", "refused"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(RDS, "1", "n", &["sent", "refused"], Some("refused is bad"));
    script.session.stream_closed();
    script.session.stream_opened(0);
    script.says();
    script.seconds(100);
    assert_eq!(script.session.timed_out(script.now), []);
}

#[test]
fn a_name_asked_for_twice_waits_by_its_latest_request() {
    let mut script = script(Variant::Delta);
    script.subscribe(EDS, &["a"]);
    script.session.stream_opened(0);
    script.says();
    script.seconds(10);
    script.unsubscribe(EDS, &["a"]);
    script.says();
    script.subscribe(EDS, &["a"]);
    script.says();
    script.seconds(10);
    assert_eq!(script.session.timed_out(script.now), []);
    script.seconds(5);
    assert_eq!(script.session.timed_out(script.now).len(), 1);
}
