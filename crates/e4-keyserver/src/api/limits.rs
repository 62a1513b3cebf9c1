//! How often somebody may ask.

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

/// Each time that this many requests were counted, those who have not asked for a while are forgotten.
const FORGET_AFTER: u32 = 1024;

/// Who asks, as far as limits go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// The holder of a token, by name.
    Holder(String),
    /// Nobody in particular, from this network.
    Network(IpAddr),
}

impl Asker {
    /// Nobody in particular; all addresses of an IPv6 network are one, since whoever has one has all.
    pub(super) fn from(address: IpAddr) -> Self {
        Self::Network(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// What each principal has used of what it may.
#[derive(Debug)]
pub(super) struct Limits {
    limiter: DefaultKeyedRateLimiter<Asker>,
    counted: AtomicU32,
}

impl Limits {
    pub(super) fn new(a_minute: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(a_minute)), counted: AtomicU32::new(0) }
    }

    /// Counts one request; if it is one too many, says after how many seconds the next one may come.
    pub(super) fn count(&self, asker: &Asker) -> Result<(), u64> {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_AFTER) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(asker).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_principal_does_not_use_up_what_another_may() {
        let limits = Limits::new(NonZeroU32::new(2).unwrap());
        let [ann, bob] = ["ann", "bob"].map(|name| Asker::Holder(name.to_owned()));
        assert_eq!([limits.count(&ann), limits.count(&ann)], [Ok(()), Ok(())]);
        assert!(limits.count(&ann).is_err_and(|seconds| (1..=30).contains(&seconds)));
        assert_eq!(limits.count(&bob), Ok(()));
    }

    #[test]
    fn an_ipv6_network_is_one_asker_and_a_mapped_address_is_the_one_it_maps() {
        let asker = |text: &str| Asker::from(text.parse().unwrap());
        assert_eq!(asker("2001:db8::1"), asker("2001:db8::ffff:1"));
        assert_ne!(asker("2001:db8::1"), asker("2001:db8:0:1::1"));
        assert_eq!(asker("::ffff:192.0.2.1"), asker("192.0.2.1"));
        assert_ne!(asker("192.0.2.2"), asker("192.0.2.1"));
    }
}
