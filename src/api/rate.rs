//! How many requests one client may send (abs.md 2.2, `rate`).

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::{RateConfig, network};

/// More clients than this are not told apart until some have rested: a few MiB.
const CLIENTS_MAX: usize = 65_536;

/// How often clients that have rested are looked for in a full table.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What each client has used lately; of bounded size.
pub struct Rates {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    /// Shared by all while the table is full.
    together: DefaultDirectRateLimiter,
    free: Vec<(IpAddr, u8)>,
    clients_max: usize,
    swept: Mutex<Option<Instant>>,
}

impl Rates {
    /// With the limits of a listener.
    pub fn new(config: &RateConfig) -> Self {
        Self::bounded(config, CLIENTS_MAX)
    }

    fn bounded(config: &RateConfig, clients_max: usize) -> Self {
        let one = NonZeroU32::MIN;
        let quota = Quota::per_second(NonZeroU32::new(config.tps).unwrap_or(one))
            .allow_burst(NonZeroU32::new(config.size).unwrap_or(one));
        Self {
            clients: RateLimiter::keyed(quota),
            together: RateLimiter::direct(quota),
            free: config.white_list.iter().filter_map(|text| network(text)).collect(),
            clients_max,
            swept: Mutex::new(None),
        }
    }

    /// Whether a request of this client may pass; counted if so.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        if self.free.iter().any(|free| is_in(client, *free)) {
            return true;
        }
        if self.clients.len() >= self.clients_max {
            self.sweep();
            if self.clients.len() >= self.clients_max {
                return self.together.check().is_ok();
            }
        }
        self.clients.check_key(&whole(client)).is_ok()
    }

    /// Forgets the clients that have all of their burst again.
    fn sweep(&self) {
        let now = Instant::now();
        let Ok(mut swept) = self.swept.lock() else { return };
        if swept.is_none_or(|at| now.duration_since(at) >= SWEEP_EVERY) {
            *swept = Some(now);
            self.clients.retain_recent();
        }
    }
}

/// A client of IPv6 has a network of 64 bits to choose addresses from: it counts as one.
fn whole(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

fn is_in(client: IpAddr, (first, length): (IpAddr, u8)) -> bool {
    let differ = match (client, first) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from(one.to_bits() ^ other.to_bits()) << 96,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(length)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Rates, is_in};
    use crate::config::{RateConfig, network};

    fn rates(size: u32, white_list: &[&str], clients_max: usize) -> Rates {
        let white_list = white_list.iter().map(|text| (*text).to_owned()).collect();
        Rates::bounded(&RateConfig { tps: 1, size, white_list }, clients_max)
    }

    #[test]
    fn each_client_has_its_burst_and_no_more() {
        let rates = rates(3, &["10.0.0.0/8"], 100);
        let [one, other, free] = ["192.0.2.1", "192.0.2.2", "10.9.9.9"].map(|text| text.parse().unwrap());
        let passed = |client| (0..20).filter(|_| rates.admits(client)).count();
        // A second may pass while this runs: then one more does.
        assert!((3..=5).contains(&passed(one)) && (3..=5).contains(&passed(other)));
        assert_eq!(passed(free), 20);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client_and_mapped_ones_are_ipv4() {
        let rates = rates(1, &["192.0.2.7"], 100);
        assert!(rates.admits("2001:db8::1".parse().unwrap()));
        assert!(!rates.admits("2001:db8::2".parse().unwrap()));
        assert!(rates.admits("2001:db8:0:1::1".parse().unwrap()));
        assert!((0..5).all(|_| rates.admits("::ffff:192.0.2.7".parse().unwrap())));
    }

    #[test]
    fn the_table_is_bounded_however_many_clients_come() {
        let rates = rates(1000, &[], 100);
        let passed = (0..10_000_u32)
            .filter(|n| rates.admits(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n))))
            .count();
        assert!(rates.clients.len() <= 100, "{}", rates.clients.len());
        assert!(passed < 10_000, "those beyond share one limit");
    }

    #[test]
    fn networks_hold_what_they_say() {
        for (net, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ] {
            let net = network(net).unwrap();
            assert!(is_in(inside.parse().unwrap(), net) && !is_in(outside.parse().unwrap(), net));
        }
        assert!(is_in("203.0.113.9".parse().unwrap(), network("0.0.0.0/0").unwrap()));
        for bad in ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129", "host", "10.0.0.0/"] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }
}
