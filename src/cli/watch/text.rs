//! Numbers and times as a person reads them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time of day here, with the date where it is another day.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone));
    let format = if at.date() == now.date() { "%H:%M:%S" } else { "%m-%d %H:%M" };
    at.strftime(format).to_string()
}

/// Date, time of day and offset here.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f %:z").to_string()
}

/// A time in microseconds, in two or three digits.
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        _ => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// A number of bytes, in binary units.
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_size() {
        for (micros, shown) in
            [(7, "7 µs"), (12_345, "12 ms"), (1_250_000, "1.2 s"), (59_999_999, "59.9 s"), (61_000_000, "1 min 1 s")]
        {
            assert_eq!(duration(micros), shown);
        }
        for (bytes, shown) in [(0, "0 B"), (1_023, "1023 B"), (1_024, "1 KiB"), (5 << 20, "5 MiB")] {
            assert_eq!(amount(bytes), shown);
        }
    }
}
