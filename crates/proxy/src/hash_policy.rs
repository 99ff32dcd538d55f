//! The hash by which hashing balancers choose an endpoint for a request (`RouteAction.hash_policy`).
//!
//! Values are those of Envoy, so that a mesh of both sends one key to one endpoint: xxHash64 of each part, joined by
//! rotation and exclusive or.

use std::net::SocketAddr;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{HashPolicy, HashPolicySpecifier, query_parameter};
use upstream::xx_hash::xx_hash_64;

/// The caller's connection, as far as it goes into a hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
}

/// The hash of a request; `None` if no part of it is there. Cookies that the caller lacks and the policy makes go to
/// `set_cookie`, as values of `set-cookie`; without it none is made.
pub(crate) fn hash(
    policies: &[HashPolicy],
    request: &HeaderBlock,
    caller: Caller,
    mut set_cookie: Option<&mut Vec<Box<[u8]>>>,
) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        if let Some(part) = part(&policy.specifier, request, caller, &mut set_cookie) {
            // Rotated, so that the same part twice doesn't cancel itself out.
            hash = Some(hash.map_or(0, |hash| hash.rotate_left(1)) ^ part);
        }
        if policy.terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn part(
    specifier: &HashPolicySpecifier,
    request: &HeaderBlock,
    caller: Caller,
    set_cookie: &mut Option<&mut Vec<Box<[u8]>>>,
) -> Option<u64> {
    match specifier {
        HashPolicySpecifier::Header {
            header_name,
            regex_rewrite,
        } => {
            let values: Vec<&[u8]> = match &**header_name {
                ":path" => request.path().into_iter().collect(),
                ":method" => request.method().into_iter().collect(),
                ":authority" | "host" => request.authority().into_iter().collect(),
                ":scheme" => request.scheme().into_iter().collect(),
                name => request.get_all(name).collect(),
            };
            let hash_of = |values: &mut [&[u8]]| {
                // The order of the lines doesn't count.
                values.sort_unstable();
                match values {
                    [] => None,
                    [one] => Some(xx_hash_64(one, 0)),
                    several => Some(xx_hash_64(&several.concat(), 0)),
                }
            };
            let Some(rewrite) = regex_rewrite else {
                return hash_of(&mut { values });
            };
            let rewritten: Vec<Vec<u8>> = values
                .iter()
                .map(|value| {
                    let mut output = Vec::with_capacity(value.len());
                    rewrite.rewrite(value, &mut output);
                    output
                })
                .collect();
            hash_of(&mut rewritten.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        HashPolicySpecifier::Cookie {
            name,
            ttl,
            path,
            attributes,
        } => {
            if let Some(value) = cookie(request, name.as_bytes()) {
                return Some(xx_hash_64(value, 0));
            }
            let (ttl, set_cookie) = ((*ttl)?, set_cookie.as_mut()?);
            let value = cookie_value(caller);
            let mut cookie = format!("{name}=\"{value}\"");
            if ttl.as_secs() > 0 {
                cookie.push_str(&format!("; Max-Age={}", ttl.as_secs()));
            }
            if !path.is_empty() {
                cookie.push_str(&format!("; Path={path}"));
            }
            for (name, value) in attributes {
                let equals = if value.is_empty() { "" } else { "=" };
                cookie.push_str(&format!("; {name}{equals}{value}"));
            }
            cookie.push_str("; HttpOnly");
            set_cookie.push(cookie.into_bytes().into());
            Some(xx_hash_64(value.as_bytes(), 0))
        }
        HashPolicySpecifier::SourceIp => Some(xx_hash_64(caller.peer?.ip().to_string().as_bytes(), 0)),
        HashPolicySpecifier::QueryParameter(name) => query_parameter(request.path()?, name).map(|v| xx_hash_64(v, 0)),
        // Refused by `config`.
        HashPolicySpecifier::FilterState(_) => None,
    }
}

/// The value of a cookie that is made: the same for all requests of a connection, so that those which race get one.
fn cookie_value(caller: Caller) -> String {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let key = text(caller.peer) + &text(caller.local);
    format!("{:016x}", xx_hash_64(key.as_bytes(), 0))
}

/// The value of a cookie, without the quotes around it; `None` if it is empty or not there.
fn cookie<'r>(request: &'r HeaderBlock, name: &[u8]) -> Option<&'r [u8]> {
    let value = request.get_all(&KnownName::Cookie).find_map(|line| {
        line.split(|byte| *byte == b';').find_map(|pair| {
            let pair = pair.trim_ascii_start();
            let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
            Some(value.trim_ascii_end())
        })
    })?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value)).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CALLER: Caller = Caller {
        peer: Some(SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)),
            4000,
        )),
        local: Some(SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 8)),
            80,
        )),
    };

    fn header(name: &str, terminal: bool) -> HashPolicy {
        HashPolicy {
            specifier: HashPolicySpecifier::Header {
                header_name: name.into(),
                regex_rewrite: None,
            },
            terminal,
        }
    }

    fn request(fields: &[(&str, &str)]) -> HeaderBlock {
        let mut request = HeaderBlock::new();
        request.set_path(b"/a?user=7&user=8");
        for (name, value) in fields {
            request.append(*name, value.as_bytes());
        }
        request
    }

    #[test]
    fn parts_are_joined_by_rotation_and_a_terminal_part_ends_them() {
        let (one, two) = (xx_hash_64(b"1", 0), xx_hash_64(b"2", 0));
        let both = request(&[("x", "1"), ("y", "2")]);
        let of = |policies: &[HashPolicy], request| hash(policies, request, CALLER, None);
        assert_eq!(
            of(&[header("x", false), header("y", false)], &both),
            Some(one.rotate_left(1) ^ two)
        );
        assert_eq!(of(&[header("x", true), header("y", false)], &both), Some(one));
        assert_eq!(of(&[header("z", true), header("y", false)], &both), Some(two));
        assert_eq!(of(&[header("z", false)], &both), None);
        let repeated = request(&[("x", "2"), ("x", "1")]);
        assert_eq!(of(&[header("x", false)], &repeated), Some(xx_hash_64(b"12", 0)));
    }

    #[test]
    fn a_cookie_is_made_once_where_it_has_a_life_time() {
        let policy = |ttl| {
            [HashPolicy {
                specifier: HashPolicySpecifier::Cookie {
                    name: "session".into(),
                    ttl,
                    path: "/p".into(),
                    attributes: vec![("SameSite".into(), "Strict".into()), ("Secure".into(), "".into())],
                },
                terminal: false,
            }]
        };
        let mut made = Vec::new();
        let hour = Some(Duration::from_secs(3600));
        let hash_of_made = hash(&policy(hour), &request(&[]), CALLER, Some(&mut made));
        let text = String::from_utf8(made[0].to_vec()).unwrap();
        let value = format!("{:016x}", xx_hash_64(b"10.0.0.7:400010.0.0.8:80", 0));
        assert_eq!(
            text,
            format!("session=\"{value}\"; Max-Age=3600; Path=/p; SameSite=Strict; Secure; HttpOnly")
        );
        let back = request(&[("cookie", &format!("a=b; session=\"{value}\""))]);
        assert_eq!(hash(&policy(hour), &back, CALLER, Some(&mut made)), hash_of_made);
        assert_eq!(made.len(), 1, "a cookie that came back is not made again");
        assert_eq!(hash(&policy(None), &request(&[]), CALLER, Some(&mut made)), None);
    }

    #[test]
    fn addresses_and_query_parameters_are_hashed_as_text() {
        let policies = |specifier| {
            [HashPolicy {
                specifier,
                terminal: false,
            }]
        };
        assert_eq!(
            hash(&policies(HashPolicySpecifier::SourceIp), &request(&[]), CALLER, None),
            Some(xx_hash_64(b"10.0.0.7", 0))
        );
        let parameter = |name: &str| policies(HashPolicySpecifier::QueryParameter(name.into()));
        assert_eq!(
            hash(&parameter("user"), &request(&[]), CALLER, None),
            Some(xx_hash_64(b"7", 0))
        );
        assert_eq!(hash(&parameter("other"), &request(&[]), CALLER, None), None);
    }
}
