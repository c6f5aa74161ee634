//! sed scripts.

/// A sed script of addresses and the commands that only edit: no `e`, `r`, `w`, `R`, `W`, `F`, no flag `e` or `w`.
pub(crate) fn sed(script: &str) -> bool {
    Sed { rest: script.as_bytes() }.script()
}

struct Sed<'a> {
    rest: &'a [u8],
}

impl Sed<'_> {
    fn script(&mut self) -> bool {
        loop {
            self.skip(b" \t\n;");
            if self.rest.is_empty() {
                return true;
            }
            if !self.command() {
                return false;
            }
        }
    }

    fn command(&mut self) -> bool {
        if !self.addresses() {
            return false;
        }
        match self.next() {
            Some(b'p' | b'd' | b'n' | b'N' | b'g' | b'G' | b'h' | b'H' | b'x' | b'D' | b'P' | b'=') => self.ends(),
            Some(b'{' | b'}') => true,
            Some(b'q' | b'Q') => {
                self.skip(b"0123456789 ");
                self.ends()
            }
            Some(b's') => self.delimited(2) && self.flags() && self.ends(),
            Some(b'y') => self.delimited(2) && self.ends(),
            Some(b'a' | b'i' | b'c') => self.text(),
            _ => false,
        }
    }

    fn addresses(&mut self) -> bool {
        if !self.address() {
            return false;
        }
        if self.rest.first() == Some(&b',') {
            self.next();
            self.skip(b" ");
            if matches!(self.rest.first(), Some(b'+' | b'~')) {
                self.next();
            }
            if !self.address() {
                return false;
            }
        }
        self.skip(b" !");
        true
    }

    /// A number, `$`, `first~step`, `/regex/`, or nothing.
    fn address(&mut self) -> bool {
        match self.rest.first() {
            Some(b'$') => _ = self.next(),
            Some(b'/') => {
                if !self.delimited(1) {
                    return false;
                }
                self.skip(b"I");
            }
            _ => self.skip(b"0123456789~"),
        }
        self.skip(b" ");
        true
    }

    /// The delimiter, then so many parts that each end with it; a backslash keeps the next character from ending one.
    fn delimited(&mut self, parts: usize) -> bool {
        let Some(delimiter) = self.next().filter(|byte| !b"\\\n".contains(byte) && byte.is_ascii()) else {
            return false;
        };
        for _ in 0..parts {
            loop {
                match self.next() {
                    None => return false,
                    Some(b'\\') if self.next().is_none() => return false,
                    Some(byte) if byte == delimiter => break,
                    Some(_) => {}
                }
            }
        }
        true
    }

    fn flags(&mut self) -> bool {
        self.skip(b"gpiI0123456789");
        true
    }

    /// One line of text, which must not go on behind a backslash.
    fn text(&mut self) -> bool {
        let length = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let line = self.rest.get(..length).unwrap_or_default();
        let plain = !line.contains(&b'\\');
        self.rest = self.rest.get(length..).unwrap_or_default();
        plain
    }

    /// A command ends with a separator or the script.
    fn ends(&mut self) -> bool {
        self.skip(b" \t");
        matches!(self.rest.first(), None | Some(b';' | b'\n' | b'}'))
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.rest.first().is_some_and(|byte| bytes.contains(byte)) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sed_scripts() {
        for script in [
            "s/a/b/",
            "s/;/ rm /",
            "1,10p",
            "$d",
            "/x/d;s|a|b|g",
            "1!G;h;$!d",
            "s/a/\\//gp",
            "/^#/Id",
            "2q",
            "1i text",
            "0~3d",
            "/a/,+2p",
            "s/e/w/2",
            "y/abc/xyz/",
            "/a/{s/b/c/;p}",
            "",
        ] {
            assert!(sed(script), "{script}");
        }
        for script in [
            "1e rm",
            "e",
            "s/a/rm/e",
            "w f",
            "s/a/b/w f",
            "r f",
            "R f",
            "W f",
            "s/a/b/we",
            "s/a/b/ge",
            "1!e",
            "{e\n}",
            "F",
            "s/a/b",
            "/a",
            "s\\a\\b\\",
            "a\\\ne rm",
            "l 5",
            "v",
            "b x",
            "s/a/b/m;e",
            "\\,x,e",
            "s/[/]/e/",
            "i\\",
        ] {
            assert!(!sed(script), "{script}");
        }
    }
}
