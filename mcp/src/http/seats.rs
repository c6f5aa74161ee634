//! Which connections are kept where there are too many of them.
//!
//! A connection is a stranger until a request over it has proven which principal it belongs to. Strangers get half of the places, and the
//! strangers of one address get a quarter of that half. When another connection waits for a place, the server closes a stranger that it has
//! refused, or one that has been open for [`TURN`] without a request that counts. It never closes a known connection for another one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

/// How long a stranger has for its first request where others wait for its place.
const TURN: Duration = Duration::from_millis(500);

/// How often those that wait look whether a stranger's time is over.
const LOOK: Duration = Duration::from_millis(50);

/// Connections that may wait for a place, at least. Those of one address have half of that.
const WAITING: usize = 64;

/// Where a connection comes from, as far as places are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConnectionOrigin {
    /// An IPv4 address, or the network of 64 bits that one host has of IPv6.
    Network(IpAddr),
    /// A user of this machine, at a socket in the file system.
    User(Option<u32>),
}

impl ConnectionOrigin {
    /// Where this address is.
    pub(super) fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(ip) => Self::Network(IpAddr::V6((ip.to_bits() >> 64 << 64).into())),
            ip => Self::Network(ip),
        }
    }
}

/// The places of a server.
pub(super) struct Seats {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

/// Who has a place, oldest first, and who waits for one.
#[derive(Default)]
struct Taken {
    next: u64,
    strangers: BTreeMap<u64, Stranger>,
    known: BTreeMap<u64, Keep>,
    waiting: BTreeMap<ConnectionOrigin, usize>,
}

struct Stranger {
    from: ConnectionOrigin,
    keep: Keep,
    since: Instant,
    is_refused: bool,
}

impl Stranger {
    fn is_over(&self, now: Instant) -> bool {
        self.is_refused || now.saturating_duration_since(self.since) >= TURN
    }
}

/// Dropped, it ends its connection.
type Keep = oneshot::Sender<()>;

/// A connection's place, free again when this is dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

/// A place in the queue, free again when this is dropped.
pub(super) struct QueuedConnection {
    seats: Arc<Seats>,
    from: ConnectionOrigin,
}

impl Seats {
    /// So many places, at least one.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), taken: Mutex::default(), freed: Notify::new() })
    }

    /// A place in the queue for a connection from there. `None` if too many wait.
    pub(super) fn wait(self: &Arc<Self>, from: ConnectionOrigin) -> Option<QueuedConnection> {
        let most = self.max.max(WAITING);
        let mut taken = self.taken();
        let all: usize = taken.waiting.values().sum();
        let own = taken.waiting.get(&from).copied().unwrap_or(0);
        if all >= most || own >= most / 2 {
            return None;
        }
        taken.waiting.insert(from, own + 1);
        Some(QueuedConnection { seats: Arc::clone(self), from })
    }

    fn try_take(self: &Arc<Self>, from: ConnectionOrigin, now: Instant) -> Option<(Seat, oneshot::Receiver<()>)> {
        let for_strangers = self.max - self.max / 2;
        let of_one = (for_strangers / 4).max(1);
        let mut taken = self.taken();
        if taken.strangers.values().filter(|stranger| stranger.from == from).count() >= of_one {
            taken.put_out(now, |stranger| stranger.from == from)?;
        }
        if taken.strangers.len() >= for_strangers || taken.strangers.len() + taken.known.len() >= self.max {
            let busiest = taken.busiest(now)?;
            taken.put_out(now, |stranger| stranger.from == busiest)?;
        }
        let (keep, ended) = oneshot::channel();
        let number = taken.next;
        taken.next += 1;
        taken.strangers.insert(number, Stranger { from, keep, since: now, is_refused: false });
        Some((Seat { seats: Arc::clone(self), number }, ended))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing that holds the lock can fail half-way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Where most of those come from that can be put out.
    fn busiest(&self, now: Instant) -> Option<ConnectionOrigin> {
        let mut counts: BTreeMap<ConnectionOrigin, usize> = BTreeMap::new();
        for stranger in self.strangers.values().filter(|stranger| stranger.is_over(now)) {
            *counts.entry(stranger.from).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(origin, _)| origin)
    }

    /// Ends the oldest of these whose time is over. `None` if there is none.
    fn put_out(&mut self, now: Instant, is_one: impl Fn(&Stranger) -> bool) -> Option<()> {
        let mut all = self.strangers.iter();
        let (number, _) = all.find(|(_, stranger)| stranger.is_over(now) && is_one(stranger))?;
        let number = *number;
        self.strangers.remove(&number).map(|_| ())
    }
}

impl QueuedConnection {
    /// Its place, and what is done once another takes that.
    pub(super) async fn seat(self) -> (Seat, oneshot::Receiver<()>) {
        loop {
            let freed = self.seats.freed.notified();
            tokio::pin!(freed);
            // From here on a place that gets free is not missed.
            freed.as_mut().enable();
            if let Some(taken) = self.seats.try_take(self.from, Instant::now()) {
                return taken;
            }
            let _or_some_time_is_over = tokio::time::timeout(LOOK, freed).await;
        }
    }
}

impl Drop for QueuedConnection {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        let left = taken.waiting.get(&self.from).map_or(0, |waiting| waiting.saturating_sub(1));
        if left == 0 {
            taken.waiting.remove(&self.from);
        } else {
            taken.waiting.insert(self.from, left);
        }
    }
}

impl Seat {
    /// A request over the connection has proven whose it is.
    pub(super) fn set_known(&self) {
        let mut taken = self.seats.taken();
        if let Some(stranger) = taken.strangers.remove(&self.number) {
            taken.known.insert(self.number, stranger.keep);
            drop(taken);
            self.seats.freed.notify_waiters();
        }
    }

    /// A request over the connection is refused for want of a proof.
    pub(super) fn set_refused(&self) {
        let mut taken = self.seats.taken();
        if let Some(stranger) = taken.strangers.get_mut(&self.number) {
            stranger.is_refused = true;
            drop(taken);
            self.seats.freed.notify_waiters();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.strangers.remove(&self.number);
        taken.known.remove(&self.number);
        drop(taken);
        self.seats.freed.notify_waiters();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn at(last: u8) -> ConnectionOrigin {
        ConnectionOrigin::of(SocketAddr::from(([192, 0, 2, last], 1000)))
    }

    fn is_out(ended: &mut oneshot::Receiver<()>) -> bool {
        ended.try_recv() == Err(TryRecvError::Closed)
    }

    #[test]
    fn strangers_give_up_their_places_once_they_had_their_turn() {
        let (seats, begin) = (Seats::new(16), Instant::now());
        let (known, mut known_ended) = seats.try_take(at(1), begin).unwrap();
        known.set_known();
        // Eight places are for strangers, two of them for one address.
        let (first, mut first_ended) = seats.try_take(at(2), begin).unwrap();
        let (_second, mut second_ended) = seats.try_take(at(2), begin).unwrap();
        assert!(seats.try_take(at(2), begin).is_none());
        first.set_refused();
        let mut third = seats.try_take(at(2), begin).unwrap();
        assert!(is_out(&mut first_ended) && !is_out(&mut second_ended));
        // Other addresses get the other six places.
        let others: Vec<_> = (3..9).map(|last| seats.try_take(at(last), begin).unwrap()).collect();
        assert!(seats.try_take(at(10), begin).is_none());
        // After `TURN` a silent stranger is closed, one of the address with the most strangers first.
        let _last = seats.try_take(at(10), begin + TURN).unwrap();
        assert!(is_out(&mut second_ended) && !is_out(&mut third.1) && !is_out(&mut known_ended));
        drop(others);
    }

    #[tokio::test]
    async fn where_all_are_known_the_next_one_waits() {
        let seats = Seats::new(2);
        let known: Vec<_> = (0..2)
            .map(|last| {
                let taken = seats.try_take(at(last), Instant::now()).unwrap();
                taken.0.set_known();
                taken
            })
            .collect();
        assert!(seats.try_take(at(9), Instant::now() + TURN).is_none());
        let next = tokio::spawn(seats.wait(at(9)).unwrap().seat());
        tokio::task::yield_now().await;
        drop(known);
        let (_seat, mut ended) = next.await.unwrap();
        assert!(!is_out(&mut ended));
    }

    #[test]
    fn one_place_is_enough_to_be_served() {
        let (seats, begin) = (Seats::new(1), Instant::now());
        let (stranger, mut ended) = seats.try_take(at(1), begin).unwrap();
        stranger.set_refused();
        let (seat, mut own) = seats.try_take(at(2), begin).unwrap();
        assert!(is_out(&mut ended) && !is_out(&mut own));
        seat.set_known();
        assert!(seats.try_take(at(3), begin + TURN).is_none());
        drop(seat);
        assert!(seats.try_take(at(3), begin).is_some());
    }

    #[test]
    fn the_queue_is_no_addresss_own() {
        let seats = Seats::new(1);
        let flood: Vec<_> = (0..1000).filter_map(|_| seats.wait(at(1))).collect();
        assert_eq!(flood.len(), WAITING / 2);
        let others: Vec<_> = (2..=u8::MAX).filter_map(|last| seats.wait(at(last))).collect();
        assert_eq!(others.len(), WAITING / 2);
        drop((flood, others));
        assert!(seats.taken().waiting.is_empty(), "nothing is kept of those who found no place");
    }

    #[test]
    fn a_host_has_one_network_of_ipv6_and_one_address_of_ipv4() {
        let of = |text: &str| ConnectionOrigin::of(text.parse().unwrap());
        assert_eq!(of("[2001:db8:0:1::5]:1"), of("[2001:db8:0:1:ffff::6]:2"));
        assert_ne!(of("[2001:db8:0:1::5]:1"), of("[2001:db8:0:2::5]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
    }
}
