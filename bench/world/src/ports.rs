//! Ports for programs that must be told theirs before they start.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below 32768, where Linux starts to hand out ports to those who ask for any, and to outgoing connections: none of them takes a
/// port of ours between its choice and its use.
const FIRST: u16 = 20_000;
/// How many ports there are from [`FIRST`].
const OURS: u16 = 12_000;

/// As many tries as find a free one on a machine where nine of ten are taken.
const TRIES: usize = 200;

/// Where this process goes on: each port is handed out once until all were, for whoever was told one may not listen on it yet.
/// Processes begin at places of their own.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random_range(0..OURS)));

/// A port of loopback that nobody listens on, and that nobody else in this process was told of.
///
/// # Errors
/// The last refusal, when none was found.
pub fn free_port() -> io::Result<u16> {
    let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed) % OURS;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + nth)) {
            Ok(_) => return Ok(FIRST + nth),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// `N` different addresses of loopback that nobody listens on, as [`free_port`] finds them.
///
/// # Errors
/// The last refusal, when one was not found.
pub fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        address.set_port(free_port()?);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn they_are_free_and_different_and_below_those_that_are_handed_out() {
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| free_addresses::<256>().unwrap()))
            .collect();
        let addresses: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let different: HashSet<_> = addresses.iter().collect();
        assert_eq!(different.len(), addresses.len());
        for address in addresses {
            assert!((FIRST..FIRST + OURS).contains(&address.port()));
            drop(TcpListener::bind(address).unwrap());
        }
    }
}
