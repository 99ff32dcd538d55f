use super::super::*;
use super::{action, with_routes};
use crate::testing::without_effect;

#[test]
fn a_retry_policy_is_istios_default_one() {
    let policy = action(
        "retry_policy: {retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes', \
         num_retries: 2, retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {'@type': \
         type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}], \
         host_selection_retry_max_attempts: 5, retriable_status_codes: [503]}",
    )
    .retry_policy
    .clone()
    .unwrap();
    assert!(policy.retry_on.contains_any(RetryOn::CONNECT_FAILURE));
    assert!(policy.retry_on.contains_any(RetryOn::RETRIABLE_STATUS_CODES));
    assert!(
        !policy
            .retry_on
            .contains_any(RetryOn::SERVER_ERROR.union(RetryOn::RESET))
    );
    assert_eq!((policy.num_retries, policy.host_selection_retry_max_attempts), (2, 5));
    assert!(policy.avoid_previous_hosts && !policy.omit_canary_hosts);
    assert_eq!(policy.retriable_status_codes, [503]);
    assert_eq!(policy.retry_back_off, RetryBackOff::default());
}

#[test]
fn an_unknown_retry_condition_is_passed_over_and_listed() {
    let text = with_routes("{match: {prefix: /}, route: {cluster: c, retry_policy: {retry_on: '5xx, soon'}}}");
    let path = "virtual_hosts[0].routes[0].route.retry_policy.retry_on";
    assert_eq!(without_effect(RouteConfiguration::parse, &text), [path]);
}

#[test]
fn retry_conditions_of_a_header_are_read_as_those_of_the_configuration() {
    let mut statuses = Vec::new();
    let (conditions, understood) =
        RetryOn::from_list(b" gateway-error ,503,,cancelled", |status| statuses.push(status));
    assert!(
        understood && conditions.contains_any(RetryOn::CANCELLED) && conditions.contains_any(RetryOn::GATEWAY_ERROR)
    );
    assert!(conditions.contains_any(RetryOn::RETRIABLE_STATUS_CODES));
    assert_eq!(statuses, [503]);
    let (conditions, understood) = RetryOn::from_list(b"what,999", |_| panic!("no status"));
    assert!(!understood && conditions.is_empty());
}
