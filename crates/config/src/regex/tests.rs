use std::time::{Duration, Instant};

use super::*;

fn regex(source: &str) -> Regex {
    Regex::new(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn the_whole_value_must_match() {
    assert!(regex("a|ab").is_match(b"ab"));
    assert!(regex("").is_match(b""));
    for (source, value) in [("a", "ab"), ("a", "ba"), ("a|b", "ab"), ("a", "a\n"), ("(?m)a", "a\nb")] {
        assert!(!regex(source).is_match(value.as_bytes()), "{source} {value:?}");
    }
}

#[test]
fn an_expression_cannot_break_out_of_its_group() {
    assert!(Regex::new("a)|(b").is_err());
    assert!(!regex("(?x)a # comment").is_match(b"ab"));
    assert!(regex("(?x)a # comment").is_match(b"a"));
}

#[test]
fn digits_and_words_are_those_of_ascii_as_in_re2() {
    assert!(!regex("\\d").is_match("٣".as_bytes()));
    assert!(regex("é+").is_match("éé".as_bytes()));
    assert!(regex("(?i)ABC").is_match(b"abc"));
    assert!(regex(".*").is_match(b"\xff\xfe"));
}

#[test]
fn what_re2_does_not_have_is_refused() {
    for source in ["(a)\\1", "(?=a)", "(?<!a)", "a{2000000}"] {
        assert!(Regex::new(source).is_err(), "{source}");
    }
}

#[test]
fn an_expression_that_grows_too_large_is_refused() {
    let error = Regex::new("((a{100}){100}){100}").unwrap_err();
    assert_eq!(error, "regular expression is too large (over 1048576 bytes compiled)");
}

#[test]
fn time_is_linear_where_backtracking_would_be_exponential() {
    let value = "a".repeat(100_000);
    let begun = Instant::now();
    assert!(!regex("(a*)*(a*)*b").is_match(value.as_bytes()));
    // A backtracking matcher would not come back within the age of the universe.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn every_match_is_replaced_with_its_captures() {
    let rewrite = |pattern: &str, substitution: &str, value: &str| {
        let mut output = b">".to_vec();
        RegexRewrite::new(pattern, substitution)
            .unwrap()
            .rewrite(value.as_bytes(), &mut output);
        String::from_utf8(output).unwrap()
    };
    assert_eq!(
        rewrite("^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1"),
        ">/v1/instance/foo"
    );
    assert_eq!(rewrite("one", "two", "/x/one/y/one"), ">/x/two/y/two");
    assert_eq!(rewrite("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb"), ">/aaa/yyy/bbb");
    assert_eq!(rewrite("(a)|(b)", "[\\1\\\\\\2]", "ab"), ">[a\\][\\b]");
    assert_eq!(rewrite("x", "y", "abc"), ">abc");
    assert_eq!(rewrite("b", "\\0\\0", "abc"), ">abbc");
}

#[test]
fn a_substitution_must_be_valid() {
    assert!(RegexRewrite::new("a", "\\").is_err());
    assert!(RegexRewrite::new("a", "\\x").is_err());
    assert_eq!(
        RegexRewrite::new("(a)", "\\2").unwrap_err(),
        "substitution \"\\\\2\" names capture 2, the pattern has 1"
    );
}
