//! The clock as policies read it: the moment, the time of day and the day of the week.
//!
//! Decides in which time zone a day begins: the one that the settings name, else the machine's.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use palisade_engine::{Clock, Moment};

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
        shows(&jiff::Timestamp::now().to_zoned(self.zone.clone()))
    }
}

/// What a clock shows in the zone of this name at a moment that a policy case names.
///
/// # Errors
/// If the machine's database has no zone of that name, or its clocks show that time never or twice.
pub fn shown_in(zone: &str, at: Moment) -> Result<Clock, String> {
    let Zone { zone: there, .. } = Zone::named(zone).map_err(|unknown| unknown.to_string())?;
    let Moment { year, month, day, hour, minute, second, is_utc } = at;
    let signed = |part: u8| i8::try_from(part).unwrap_or(i8::MAX);
    let year = i16::try_from(year).unwrap_or(i16::MAX);
    let written = DateTime::new(year, signed(month), signed(day), signed(hour), signed(minute), signed(second), 0)
        .map_err(|_| "`at` is no time of a calendar".to_owned())?;
    let read = if is_utc { TimeZone::UTC } else { there.clone() };
    let moment = read.to_ambiguous_zoned(written).unambiguous();
    let moment =
        moment.map_err(|_| format!("clocks in `{zone}` show {written} never or twice; write `at` in UTC, with `Z`"))?;
    Ok(shows(&moment.with_time_zone(there)))
}

fn shows(now: &Zoned) -> Clock {
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

    #[test]
    fn a_moment_is_shown_as_the_clocks_of_a_zone_show_it() {
        let at = |month, day, hour, is_utc| Moment { year: 2026, month, day, hour, minute: 30, second: 0, is_utc };
        for (zone, moment, expected) in [
            // A Wednesday in winter and one in summer.
            ("Europe/Zurich", at(11, 18, 18, false), Ok(("2026-11-18T17:30:00.000Z", 18, 2))),
            ("Europe/Zurich", at(7, 15, 18, false), Ok(("2026-07-15T16:30:00.000Z", 18, 2))),
            ("Europe/Zurich", at(11, 18, 23, true), Ok(("2026-11-18T23:30:00.000Z", 0, 3))),
            ("UTC", at(11, 18, 18, false), Ok(("2026-11-18T18:30:00.000Z", 18, 2))),
            ("Europe/Zurich", at(3, 29, 2, false), Err("never or twice")),
            ("Europe/Zurich", at(10, 25, 2, false), Err("never or twice")),
            ("Mars/Phobos", at(10, 25, 2, false), Err("there is no time zone `Mars/Phobos`")),
        ] {
            let shown = shown_in(zone, moment);
            let told =
                shown.as_ref().map(|clock| (clock.now.as_str(), clock.time_of_day_ms / 3_600_000, clock.weekday));
            match expected {
                Ok(expected) => assert_eq!(told, Ok(expected), "{zone} {moment:?}"),
                Err(said) => assert!(told.is_err_and(|error| error.contains(said)), "{zone} {moment:?}"),
            }
        }
    }
}
