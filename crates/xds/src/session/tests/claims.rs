//! Versions in state of the world: what a server concludes from them that we have.

use super::*;

#[test]
fn what_came_while_nothing_was_asked_for_is_not_claimed_when_names_are_asked_for_again() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["one", "two"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "74", "n1", &["one", "two"], None);
    script.says();
    script.unsubscribe(EDS, &["one", "two"]);
    script.says_in_turn(&["eds v=74 n=n1 []"]);
    // A server that takes the empty list for all sends all, and none of it is taken.
    script.acknowledges(EDS, "75", "n2", &["one", "two"], None);
    script.says_in_turn(&["eds v=75 n=n2 []"]);
    script.subscribe(EDS, &["one", "two"]);
    script.says_in_turn(&["eds v= n=n2 [one, two]"]);
    script.acknowledges(EDS, "75", "n3", &["one", "two"], None);
    script.says_in_turn(&["eds v=75 n=n3 [one, two]"]);
}

#[test]
fn a_name_given_up_and_asked_for_again_beside_others_is_not_claimed() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["a", "b"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "1", "n1", &["a", "b"], None);
    script.says();
    script.unsubscribe(EDS, &["b"]);
    script.says_in_turn(&["eds v=1 n=n1 [a]"]);
    script.held.0 = [((EDS, "a"), "1")].into();
    script.subscribe(EDS, &["b"]);
    script.says_in_turn(&["eds v= n=n1 [a, b]"]);
}

#[test]
fn a_new_name_is_added_under_the_version_as_envoy_does() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["a"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "1", "n1", &["a"], None);
    script.says();
    script.subscribe(EDS, &["b"]);
    script.says_in_turn(&["eds v=1 n=n1 [a, b]"]);
}

#[test]
fn giving_up_names_keeps_the_version_for_those_that_stay() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["a", "b", "c"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "1", "n1", &["a", "b", "c"], None);
    script.says();
    script.unsubscribe(EDS, &["b"]);
    script.says_in_turn(&["eds v=1 n=n1 [a, c]"]);
    script.unsubscribe(EDS, &["c"]);
    script.says_in_turn(&["eds v=1 n=n1 [a]"]);
}
