//! The clock as policies read it: the moment, the time of day and the day of the week.
//!
//! Decides in which time zone a day begins: the one that the settings name, else the machine's.

use jiff::tz::TimeZone;
use palisade_engine::Clock;

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    /// As the settings call it.
    name: Option<String>,
}

/// There is no such time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("there is no time zone `{name}`")]
#[diagnostic(help("name one of `/usr/share/zoneinfo` (Debian's package `tzdata`), such as `Europe/Zurich` or `UTC`"))]
pub struct UnknownZone {
    /// What it was called.
    pub name: String,
}

impl Default for Zone {
    /// The machine's: that of `TZ`, else of `/etc/localtime`.
    fn default() -> Self {
        Self { zone: TimeZone::system(), name: None }
    }
}

impl Zone {
    /// The zone of this name in the IANA time zone database.
    ///
    /// # Errors
    /// If the machine's database has none of that name.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        let zone = TimeZone::get(name).map_err(|_| UnknownZone { name: name.to_owned() })?;
        Ok(Self { zone, name: Some(name.to_owned()) })
    }

    /// The name by which it was asked for; none: it is the machine's.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the clock shows there.
    pub fn now(&self) -> Clock {
        let now = jiff::Timestamp::now().to_zoned(self.zone.clone());
        let time = now.time();
        let since_midnight = |hour: i8, minute: i8, second: i8, milli: i16| {
            ((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second)) * 1000 + i64::from(milli)
        };
        let time_of_day = since_midnight(time.hour(), time.minute(), time.second(), time.millisecond());
        Clock {
            now: format!("{:.3}", now.timestamp()),
            // What is out of range is refused by the engine.
            time_of_day_ms: u32::try_from(time_of_day).unwrap_or(u32::MAX),
            weekday: u8::try_from(now.weekday().to_monday_zero_offset()).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Etc/GMT-12 is twelve hours ahead of UTC: whatever the time is, it is another half of the day there.
    #[test]
    fn a_day_begins_where_the_zone_says() {
        let half = |name: &str| Zone::named(name).unwrap().now().time_of_day_ms / (12 * 3_600_000);
        // Noon may pass in between.
        assert!((0..3).any(|_| half("Etc/UTC") != half("Etc/GMT-12")));
        assert_eq!(Zone::named("Europe/Zurich").unwrap().name(), Some("Europe/Zurich"));
        for name in ["Mars/Phobos", "", "../UTC"] {
            assert_eq!(Zone::named(name).unwrap_err(), UnknownZone { name: name.to_owned() });
        }
    }
}
