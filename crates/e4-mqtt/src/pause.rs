//! When to connect again, and when not.

use crate::{
    bounds::{MAX_CONTESTED, MAX_UNREADABLE},
    loss::{Cause, Loss},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before connecting again: longer each time, and not in step with others who lost the same broker.
#[derive(Default)]
pub(crate) struct Pause {
    failures: u32,
    /// Connections that were lost soon after they were made.
    in_a_row: u32,
    /// Connections in a row that the broker took at once and closed without a word.
    contested: u32,
    /// Connections in a row that were lost soon since what came on them cannot be taken.
    unreadable: u32,
    connected: Option<Instant>,
}

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    NotMade,
    /// The broker ended it soon.
    ClosedSoon,
    Other,
}

impl Pause {
    const SHORTEST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);
    /// A connection that lasts this long has not failed.
    const LASTING: Duration = Duration::from_secs(5);
    /// Another client with the same id is back by then, at least as seen by the one of the two that waits longer. Far below what
    /// proxies allow a silent connection: they close it without a word, time and again, and it is to be made again for ever.
    const UNCONTESTED: Duration = Duration::from_secs(15);

    pub(crate) fn connected(&mut self) {
        self.connected = Some(Instant::now());
    }

    /// Counts what was lost soon after it was made.
    pub(crate) fn lost(&mut self, mut loss: Loss) -> (Loss, Life) {
        let lasted = self.connected.take().map(|since| since.elapsed());
        match lasted {
            Some(lasted) if lasted >= Self::LASTING => (self.failures, self.in_a_row) = (0, 0),
            Some(_) => self.in_a_row = self.in_a_row.saturating_add(1),
            None => self.in_a_row = 0,
        }
        let life = match (lasted, loss.cause) {
            (None, _) => Life::NotMade,
            (Some(lasted), Cause::Closed | Cause::Ended(_) | Cause::UnknownAnswer(_)) if lasted < Self::LASTING => {
                Life::ClosedSoon
            }
            (Some(_), _) => Life::Other,
        };
        let is_contested = loss.cause == Cause::Closed && lasted.is_some_and(|lasted| lasted < Self::UNCONTESTED);
        // A broker that falls down is not reached for a while; one with two clients of one id always is.
        self.contested = if is_contested { self.contested.saturating_add(1) } else { 0 };
        if self.contested >= MAX_CONTESTED {
            loss.cause = Cause::Contested;
        }
        // A connection that was not made says nothing of the session.
        if let Some(lasted) = lasted {
            let is_unreadable = lasted < Self::LASTING && matches!(loss.cause, Cause::Unreadable | Cause::OutOfTurn);
            self.unreadable = if is_unreadable { self.unreadable.saturating_add(1) } else { 0 };
        }
        loss.in_a_row = self.in_a_row;
        (loss, life)
    }

    /// Whether the same session has brought what cannot be taken so often that it is to be given up. Says so once.
    pub(crate) fn take_stuck(&mut self) -> bool {
        let is_stuck = self.unreadable >= MAX_UNREADABLE;
        if is_stuck {
            self.unreadable = 0;
        }
        is_stuck
    }

    pub(crate) fn next(&mut self) -> Duration {
        let longest = Self::SHORTEST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Loss {
        Loss { cause: Cause::Closed, reason: String::new(), in_a_row: 0 }
    }

    #[test]
    fn f32_two_clients_of_one_id_do_not_fight_for_ever() {
        let mut pause = Pause::default();
        for n in 1..=MAX_CONTESTED {
            pause.connected();
            let (loss, life) = pause.lost(closed());
            assert_eq!((loss.in_a_row, life), (n, Life::ClosedSoon));
            assert_eq!(loss.cause.is_final(), n == MAX_CONTESTED);
        }
    }

    #[test]
    fn f28_a_session_is_given_up_for_what_comes_in_it_again_and_again_and_for_no_other_loss() {
        let lose = |pause: &mut Pause, cause| {
            pause.connected();
            pause.lost(Loss { cause, ..closed() });
            pause.take_stuck()
        };
        for cause in [Cause::Unreadable, Cause::OutOfTurn] {
            let mut pause = Pause::default();
            for _ in 0..10 {
                assert!(!lose(&mut pause, Cause::Closed));
                for n in 1..MAX_UNREADABLE {
                    assert!(!lose(&mut pause, cause), "{n} times");
                }
            }
            assert!(lose(&mut pause, cause));
            assert!(!pause.take_stuck(), "it is said once");
            for other in [Cause::OverBounds, Cause::UnknownAnswer(0x95), Cause::Ended(0x95), Cause::Network] {
                assert!((0..10).all(|_| !lose(&mut pause, other)), "{other:?}");
            }
        }
    }

    /// As of brokers that are started anew often, and of proxies that end connections on which nothing was sent.
    #[tokio::test(start_paused = true)]
    async fn f59_connections_that_last_a_while_are_made_again_for_ever() {
        let mut pause = Pause::default();
        for _ in 0..10 * MAX_CONTESTED {
            pause.connected();
            tokio::time::advance(Duration::from_secs(30)).await;
            assert!(!pause.lost(closed()).0.cause.is_final());
        }
    }

    /// Each is connected for as long as the other waits.
    #[tokio::test(start_paused = true)]
    async fn f32_one_of_two_clients_of_one_id_stops_whatever_their_pauses_are() {
        for seed in 0..100 {
            fastrand::seed(seed);
            let mut pauses = [Pause::default(), Pause::default()];
            let mut is_final = false;
            for turn in 0..100 * MAX_CONTESTED {
                let [one, other] = &mut pauses;
                let (connected, waits) = if turn % 2 == 0 { (one, other) } else { (other, one) };
                connected.connected();
                tokio::time::advance(waits.next()).await;
                is_final = connected.lost(closed()).0.cause.is_final();
                if is_final {
                    break;
                }
            }
            assert!(is_final, "seed {seed}");
        }
    }

    #[test]
    fn a_broker_that_is_down_now_and_then_is_tried_for_ever() {
        let mut pause = Pause::default();
        for _ in 0..10 * MAX_CONTESTED {
            pause.connected();
            assert!(!pause.lost(closed()).0.cause.is_final());
            let refused = Loss { cause: Cause::Network, ..closed() };
            assert_eq!(pause.lost(refused).1, Life::NotMade);
        }
    }
}
