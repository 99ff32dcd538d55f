use super::validate::{self, Kind, Malformed, message};
use super::*;
use proptest::prelude::*;

fn fields(block: &HeaderBlock) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    block
        .iter()
        .map(|field| (text(field.name), text(field.value)))
        .collect()
}

fn sample() -> HeaderBlock {
    let mut block = HeaderBlock::new();
    block.append("x-first", b"1");
    block.append(KnownName::UserAgent, b"agent");
    block.append("x-twice", b"a");
    block.append(KnownName::Via, b"one");
    block.append("x-twice", b"b");
    block.append(KnownName::Via, b"two");
    block
}

#[test]
fn fields_keep_their_order_and_are_found_by_name() {
    let block = sample();
    assert_eq!(block.len(), 6);
    assert_eq!(block.get(KnownName::Via), Some(&b"one"[..]));
    assert_eq!(block.get(b"via"), Some(&b"one"[..]));
    assert_eq!(block.get_bytes(b"x-twice"), Some(&b"a"[..]));
    assert_eq!(block.get("x-absent"), None);
    assert_eq!(block.get_all("x-twice").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(block.get_all(&KnownName::Via).collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(block.get_all(&KnownName::Te).count(), 0);
    assert!(block.contains("x-first") && !block.contains("x-firs") && !block.contains(KnownName::Te));
    let known: Vec<_> = block.iter().filter_map(|field| field.known).collect();
    assert_eq!(known, [KnownName::UserAgent, KnownName::Via, KnownName::Via]);
}

#[test]
fn names_become_lower_case_and_known_ones_are_recognised() {
    let mut block = HeaderBlock::new();
    block.append("User-Agent", b"agent");
    block.append("X-Mixed", b"1");
    assert_eq!(fields(&block), [("user-agent", "agent"), ("x-mixed", "1")]);
    assert_eq!(block.get(KnownName::UserAgent), Some(&b"agent"[..]));
}

#[test]
fn spellings_are_kept_when_asked_and_survive_copies() {
    let mut block = HeaderBlock::new();
    block.append_spelled(b"User-AGENT", b"agent");
    block.append_spelled(b"X-Mixed", b"value");
    block.append("x-plain", b"1");
    let mut copy = HeaderBlock::new();
    copy.copy_from(&block);
    let spellings: Vec<_> = copy.iter().map(|field| field.spelling).collect();
    assert_eq!(spellings, [Some(&b"User-AGENT"[..]), Some(b"X-Mixed"), None]);
    assert_eq!(
        fields(&copy),
        [("user-agent", "agent"), ("x-mixed", "value"), ("x-plain", "1")]
    );
}

#[test]
fn removing_takes_all_of_a_name_and_says_how_many() {
    let mut block = sample();
    assert_eq!(block.remove(KnownName::Via), 2);
    assert_eq!(block.remove(KnownName::Via), 0);
    assert_eq!(block.remove("x-twice"), 2);
    assert_eq!(fields(&block), [("x-first", "1"), ("user-agent", "agent")]);
    assert!(!block.contains(KnownName::Via));
}

#[test]
fn setting_replaces_in_place_or_appends() {
    let mut block = sample();
    block.set("x-twice", b"c");
    block.set(KnownName::Via, b"three");
    block.set("x-new", b"n");
    let want = [
        ("x-first", "1"),
        ("user-agent", "agent"),
        ("x-twice", "c"),
        ("via", "three"),
        ("x-new", "n"),
    ];
    assert_eq!(fields(&block), want);
}

#[test]
fn renaming_keeps_place_value_and_sensitivity() {
    let mut block = sample();
    block.append_sensitive("x-key", b"secret");
    assert_eq!(block.rename(KnownName::Via, "x-via"), 2);
    assert_eq!(block.rename("x-first", KnownName::Server), 1);
    assert_eq!(block.rename("x-key", "Authorization"), 1);
    assert_eq!(block.rename("x-absent", "x-other"), 0);
    assert_eq!(block.rename("x-twice", ":path"), 0);
    let want = [
        ("server", "1"),
        ("user-agent", "agent"),
        ("x-twice", "a"),
        ("x-via", "one"),
        ("x-twice", "b"),
        ("x-via", "two"),
        ("authorization", "secret"),
    ];
    assert_eq!(fields(&block), want);
    assert!(!block.contains(KnownName::Via) && block.contains(KnownName::Server));
    assert!(block.iter().last().unwrap().sensitive);
    assert_eq!(block.get(KnownName::Authorization), Some(&b"secret"[..]));
}

#[test]
fn pseudo_headers_are_apart_from_fields() {
    let mut block = HeaderBlock::new();
    assert!(block.is_empty());
    block.set_method(b"GET");
    block.append(":path", b"/first");
    block.set_path(b"/second");
    block.append(":status", b"204");
    assert_eq!(block.len(), 0);
    assert!(!block.is_empty());
    assert_eq!(
        (block.method(), block.path(), block.status()),
        (Some(&b"GET"[..]), Some(&b"/second"[..]), Some(204))
    );
    assert_eq!(block.get(KnownName::Path), Some(&b"/second"[..]));
    assert_eq!(block.remove(":path"), 1);
    assert_eq!(block.path(), None);
    block.set_status(99);
    assert_eq!(block.status(), None);
    block.clear();
    assert!(block.is_empty());
}

#[test]
fn the_list_size_counts_names_values_and_32_a_field() {
    let mut block = HeaderBlock::new();
    block.set_status(200);
    block.append(KnownName::Te, b"trailers");
    block.append("x", b"");
    assert_eq!(block.list_size(), (7 + 3 + 32) + (2 + 8 + 32) + (1 + 32));
}

#[test]
fn clearing_keeps_the_memory() {
    let mut block = sample();
    let capacity = block.capacity();
    block.clear();
    assert_eq!((block.len(), block.capacity()), (0, capacity));
}

#[test]
fn cookies_are_joined_at_the_place_of_the_first() {
    let mut block = HeaderBlock::new();
    block.append(KnownName::Cookie, b"a=1");
    block.append(KnownName::Via, b"x");
    block.append_sensitive(KnownName::Cookie, b"b=2");
    block.join_cookies();
    assert_eq!(fields(&block), [("cookie", "a=1; b=2"), ("via", "x")]);
    assert!(block.iter().next().unwrap().sensitive);
    block.join_cookies();
    assert_eq!(block.len(), 2);
}

#[test]
fn content_length_is_one_decimal_number() {
    let length = |values: &[&str]| {
        let mut block = HeaderBlock::new();
        for value in values {
            block.append(KnownName::ContentLength, value.as_bytes());
        }
        block.content_length()
    };
    assert_eq!(length(&[]), None);
    assert_eq!(length(&["0"]), Some(Ok(0)));
    assert_eq!(length(&["18446744073709551615"]), Some(Ok(u64::MAX)));
    for bad in [
        &["18446744073709551616"][..],
        &["1", "1"],
        &["1, 1"],
        &[""],
        &["+1"],
        &["-1"],
        &["0x1"],
        &["1 "],
    ] {
        assert_eq!(length(bad), Some(Err(InvalidContentLength)), "{bad:?}");
    }
}

#[test]
fn header_maps_convert_both_ways() {
    let mut block = sample();
    block.append_sensitive("x-key", b"secret");
    let map = block.to_header_map();
    assert_eq!(map.get_all("x-twice").iter().count(), 2);
    assert!(map["x-key"].is_sensitive());
    let back = HeaderBlock::from_header_map(&map);
    assert_eq!(back.len(), block.len());
    assert_eq!(back.to_header_map(), map);
}

#[test]
fn debug_output_hides_what_is_sensitive() {
    let mut block = sample();
    block.set_path(b"/p");
    block.append_sensitive("x-key", b"secret");
    let shown = format!("{block:?}");
    assert!(
        shown.contains("x-key") && shown.contains("/p") && !shown.contains("secret"),
        "{shown}"
    );
}

#[test]
fn rfc_9110_section_7_6_1_hop_by_hop_fields_are_removed() {
    let mut block = HeaderBlock::new();
    for (name, value) in [
        ("connection", "close, X-Custom"),
        ("connection", "host, te, content-length"),
        ("x-custom", "1"),
        ("host", "h"),
        ("te", "trailers"),
        ("content-length", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAA"),
        ("trailer", "x-sum"),
        ("x-other", "2"),
    ] {
        block.append(name, value.as_bytes());
    }
    assert_eq!(hop_by_hop::upgrade(&block), None);
    hop_by_hop::remove(&mut block);
    let want = [
        ("host", "h"),
        ("te", "trailers"),
        ("content-length", "3"),
        ("trailer", "x-sum"),
        ("x-other", "2"),
    ];
    assert_eq!(fields(&block), want);

    let mut block = HeaderBlock::new();
    block.append("te", b"gzip");
    block.append("connection", b"Upgrade");
    block.append("upgrade", b"websocket");
    assert_eq!(hop_by_hop::upgrade(&block), Some(&b"websocket"[..]));
    hop_by_hop::remove(&mut block);
    assert_eq!(block.len(), 0);
}

fn request() -> HeaderBlock {
    let mut block = HeaderBlock::new();
    block.set_method(b"GET");
    block.set_scheme(b"https");
    block.set_authority(b"a.example:443");
    block.set_path(b"/p?q");
    block
}

/// `Ok`, or why a request changed by `change` is malformed.
fn checked(change: impl FnOnce(&mut HeaderBlock)) -> Result<(), Malformed> {
    let mut block = request();
    change(&mut block);
    message(&mut block, Kind::Request { extended_connect: true })
}

#[test]
fn rfc_9113_section_8_2_2_connection_specific_fields_are_malformed() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        assert_eq!(
            checked(|block| block.append(name, b"x")),
            Err(Malformed::ConnectionSpecific),
            "{name}"
        );
    }
    assert_eq!(
        checked(|block| block.append("te", b"gzip")),
        Err(Malformed::ConnectionSpecific)
    );
    assert_eq!(checked(|block| block.append("te", b"trailers")), Ok(()));
}

#[test]
fn rfc_9113_section_8_3_1_request_pseudo_headers() {
    assert_eq!(checked(|_| ()), Ok(()));
    assert_eq!(
        checked(|block| block.remove_pseudo(KnownName::Method)),
        Err(Malformed::MissingPseudo)
    );
    assert_eq!(
        checked(|block| block.remove_pseudo(KnownName::Scheme)),
        Err(Malformed::MissingPseudo)
    );
    assert_eq!(
        checked(|block| block.remove_pseudo(KnownName::Path)),
        Err(Malformed::MissingPseudo)
    );
    assert_eq!(checked(|block| block.remove_pseudo(KnownName::Authority)), Ok(()));
    for path in [&b""[..], b"p", b"*", b"/a b", b"/a\0", b"/a\x7f", b"http://a/"] {
        assert_eq!(checked(|block| block.set_path(path)), Err(Malformed::Path), "{path:?}");
    }
    let options = |block: &mut HeaderBlock| {
        block.set_method(b"OPTIONS");
        block.set_path(b"*");
    };
    assert_eq!(checked(options), Ok(()));
    for method in [&b""[..], b"GE T", b"GET\r\n"] {
        assert_eq!(
            checked(|block| block.set_method(method)),
            Err(Malformed::Method),
            "{method:?}"
        );
    }
    for scheme in [&b""[..], b"1http", b"ht tp"] {
        assert_eq!(
            checked(|block| block.set_scheme(scheme)),
            Err(Malformed::Scheme),
            "{scheme:?}"
        );
    }
    for authority in [&b"user@a"[..], b"a/b", b"a b", b"a?b", b"a#b", b"a\\b"] {
        assert_eq!(
            checked(|block| block.set_authority(authority)),
            Err(Malformed::Authority),
            "{authority:?}"
        );
    }
}

#[test]
fn rfc_9113_section_8_3_1_host_is_folded_into_authority() {
    assert_eq!(checked(|block| block.append("host", b"A.Example:443")), Ok(()));
    assert_eq!(
        checked(|block| block.append("host", b"other")),
        Err(Malformed::HostMismatch)
    );
    let two = |block: &mut HeaderBlock| {
        block.append("host", b"a.example:443");
        block.append("host", b"a.example:443");
    };
    assert_eq!(checked(two), Err(Malformed::Authority));
    let mut block = request();
    block.remove_pseudo(KnownName::Authority);
    block.append("host", b"b.example");
    message(
        &mut block,
        Kind::Request {
            extended_connect: false,
        },
    )
    .unwrap();
    assert_eq!(
        (block.authority(), block.contains(KnownName::Host)),
        (Some(&b"b.example"[..]), false)
    );
}

#[test]
fn rfc_9113_section_8_5_connect_has_an_authority_only() {
    let connect = |block: &mut HeaderBlock| {
        block.set_method(b"CONNECT");
        block.remove_pseudo(KnownName::Scheme);
        block.remove_pseudo(KnownName::Path);
    };
    assert_eq!(checked(connect), Ok(()));
    assert_eq!(
        checked(|block| block.set_method(b"CONNECT")),
        Err(Malformed::MissingPseudo)
    );
    let without_authority = |block: &mut HeaderBlock| {
        connect(block);
        block.remove_pseudo(KnownName::Authority);
    };
    assert_eq!(checked(without_authority), Err(Malformed::MissingPseudo));
}

#[test]
fn rfc_8441_extended_connect_needs_all_four_and_an_offer() {
    let extended = |block: &mut HeaderBlock| {
        block.set_method(b"CONNECT");
        block.set_protocol(b"websocket");
    };
    assert_eq!(checked(extended), Ok(()));
    assert_eq!(
        checked(|block| block.set_protocol(b"websocket")),
        Err(Malformed::Protocol)
    );
    let without_path = |block: &mut HeaderBlock| {
        extended(block);
        block.remove_pseudo(KnownName::Path);
    };
    assert_eq!(checked(without_path), Err(Malformed::MissingPseudo));
    let mut block = request();
    extended(&mut block);
    assert_eq!(
        message(
            &mut block,
            Kind::Request {
                extended_connect: false
            }
        ),
        Err(Malformed::Protocol)
    );
}

proptest! {
    #[test]
    fn a_block_behaves_as_a_list(edits in proptest::collection::vec((0..5u8, 0..6usize, "[a-z]{0,5}"), 0..40)) {
        const NAMES: [&str; 6] = ["via", "te", "x-a", "x-b", "x-abc", "server"];
        let mut block = HeaderBlock::new();
        let mut model: Vec<(&str, String)> = Vec::new();
        for (edit, which, value) in edits {
            let name = NAMES[which];
            let other = NAMES[(which + 1) % 6];
            match edit {
                0 | 1 => {
                    block.append(name, value.as_bytes());
                    model.push((name, value));
                }
                2 => {
                    let before = model.len();
                    model.retain(|field| field.0 != name);
                    prop_assert_eq!(block.remove(name), before - model.len());
                }
                3 => {
                    block.set(name, value.as_bytes());
                    match model.iter().position(|field| field.0 == name) {
                        None => model.push((name, value)),
                        Some(first) => {
                            model[first].1 = value;
                            let mut index = 0;
                            model.retain(|field| {
                                index += 1;
                                index - 1 <= first || field.0 != name
                            });
                        }
                    }
                }
                _ => {
                    block.rename(name, other);
                    model.iter_mut().filter(|field| field.0 == name).for_each(|field| field.0 = other);
                }
            }
            let want: Vec<_> = model.iter().map(|(name, value)| (*name, value.as_str())).collect();
            prop_assert_eq!(fields(&block), want);
            for name in NAMES {
                let first = model.iter().find(|field| field.0 == name).map(|field| field.1.as_bytes());
                prop_assert_eq!(block.get(name), first);
                prop_assert_eq!(block.contains(name), first.is_some());
            }
        }
    }
}

#[test]
fn rfc_3986_section_3_2_an_authority_is_a_host_and_a_port() {
    for good in [
        "",
        "a",
        "a.b",
        "a:",
        "a:80",
        "a:65535",
        "[::1]",
        "[::1]:80",
        "[fe80::1%25eth0]:80",
        "::1",
        "1.2.3.4:5",
        "a_b",
        "*",
        ":80",
    ] {
        assert!(validate::is_authority(good.as_bytes()), "{good}");
    }
    for bad in [
        "u@a", "a b", "a/b", "a?b", "a#b", "t:80:80", "a:8x", "a:-1", "a:123456", "[::1", "::1]", "[]", "[::1]x",
        "[::1]80", "[::1]:x", "a[b]", "[[::1]]", "a\\b", "a\x7f",
    ] {
        assert!(!validate::is_authority(bad.as_bytes()), "{bad}");
    }
}
