//! `original_dst`: where a connection was going before it was redirected to the proxy (netfilter's SO_ORIGINAL_DST).

use socket2::SockRef;

use crate::accepted::Accepted;
use crate::socket::Socket;

/// Restores the destination, where there is another one. A connection made straight to the proxy has none, or the
/// socket's own address: taken for a destination, the proxy would connect to itself, without end.
pub(crate) fn restore(socket: &Socket, accepted: &mut Accepted) {
    let Socket::Tcp(stream) = socket else {
        return;
    };
    let Ok(own) = stream.local_addr() else {
        return;
    };
    let reference = SockRef::from(stream);
    // On an IPv6 socket that takes IPv4 too, a mapped address has its IPv4 one.
    let original = if own.is_ipv4() || own.ip().to_canonical().is_ipv4() {
        reference.original_dst_v4()
    } else {
        reference.original_dst_v6()
    };
    // An error is the answer for a connection that no rule redirected.
    if let Some(original) = original.ok().and_then(|address| address.as_socket())
        && original != own
    {
        accepted.local = Some(original);
        accepted.is_restored = true;
    }
}
