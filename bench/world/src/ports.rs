//! Ports for programs that must be told theirs before they start.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below 32768, where Linux starts to hand out ports to those who ask for any, and to outgoing connections: none of them takes a
/// port of ours between its choice and its use.
const OURS: std::ops::Range<u16> = 20_000..32_000;

/// As many tries as find a free one on a machine where nine of ten are taken.
const TRIES: usize = 200;

/// A port of loopback that nobody listens on.
///
/// # Errors
/// The last refusal, when none was found.
pub fn free_port() -> io::Result<u16> {
    let [address] = free_addresses()?;
    Ok(address.port())
}

/// `N` different addresses of loopback that nobody listens on.
///
/// # Errors
/// The last refusal, when one was not found.
pub fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    // All of them are held until the last is found, so no two are the same.
    let mut listeners = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = listen()?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

fn listen() -> io::Result<TcpListener> {
    let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(OURS))) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn they_are_free_and_different_and_below_those_that_are_handed_out() {
        let addresses = free_addresses::<64>().unwrap();
        let different: HashSet<_> = addresses.iter().collect();
        assert_eq!(different.len(), 64);
        for address in addresses {
            assert!(OURS.contains(&address.port()));
            drop(TcpListener::bind(address).unwrap());
        }
    }
}
