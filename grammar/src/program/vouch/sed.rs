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
            Some(b'p' | b'd' | b'n' | b'N' | b'g' | b'G' | b'h' | b'H' | b'x' | b'D' | b'P' | b'=' | b'z') => {
                self.ends()
            }
            Some(b'l' | b'L') => {
                self.skip(b" 0123456789");
                self.ends()
            }
            Some(b':') => self.label() && self.ends(),
            Some(b'b' | b't' | b'T') => {
                self.label();
                self.ends()
            }
            Some(b'#') => {
                while self.next().is_some_and(|byte| byte != b'\n') {}
                true
            }
            Some(b'{') => true,
            Some(b'}') => self.ends(),
            Some(b'q' | b'Q') => {
                self.skip(b"0123456789 ");
                self.ends()
            }
            Some(b's') => self.pattern(true) && self.flags() && self.ends(),
            Some(b'y') => self.letters() && self.ends(),
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
            Some(b'/' | b'\\') => {
                if self.rest.first() == Some(&b'\\') {
                    self.next();
                }
                if !self.pattern(false) {
                    return false;
                }
                self.skip(b"IM");
            }
            _ => self.skip(b"0123456789~"),
        }
        self.skip(b" ");
        true
    }

    /// The delimiter, a pattern, and for `s` a text, each of which ends with the delimiter.
    fn pattern(&mut self, text: bool) -> bool {
        let Some(delimiter) = self.delimiter() else { return false };
        loop {
            match self.next() {
                None => return false,
                Some(b'\\') if self.next().is_none() => return false,
                Some(byte) if byte == delimiter => break,
                Some(b'[') if !self.brackets(delimiter) => return false,
                Some(_) => {}
            }
        }
        !text || self.part(delimiter)
    }

    /// Some seds take a delimiter in brackets for a character. To the others the pattern ends inside the brackets, which
    /// is an error that ends the whole script before it runs.
    fn brackets(&mut self, delimiter: u8) -> bool {
        if self.rest.first() == Some(&b'^') {
            self.next();
        }
        let (mut first, mut delimited, mut class) = (true, false, false);
        loop {
            match self.next() {
                None | Some(b'\n') => return false,
                Some(b']') if !first => return true,
                Some(b'\\') if matches!(self.next(), None | Some(b']')) => return false,
                Some(b'[') => {
                    let named = self.rest.first().copied().filter(|byte| b":.=".contains(byte));
                    if let Some(mark) = named {
                        self.next();
                        self.skip(b"abcdefghijklmnopqrstuvwxyz");
                        if self.next() != Some(mark) || self.next() != Some(b']') {
                            return false;
                        }
                        class = true;
                    }
                }
                Some(byte) => delimited |= byte == delimiter,
            }
            if class && delimited {
                return false;
            }
            first = false;
        }
    }

    fn delimiter(&mut self) -> Option<u8> {
        self.next().filter(|byte| !b"\\\n[]".contains(byte) && byte.is_ascii())
    }

    /// Up to the delimiter; a backslash keeps the next character from being one.
    fn part(&mut self, delimiter: u8) -> bool {
        loop {
            match self.next() {
                None => return false,
                Some(b'\\') if self.next().is_none() => return false,
                Some(byte) if byte == delimiter => return true,
                Some(_) => {}
            }
        }
    }

    fn letters(&mut self) -> bool {
        self.delimiter().is_some_and(|delimiter| self.part(delimiter) && self.part(delimiter))
    }

    /// `:a`, `b a`. What some take for the end of a label is not a part of it.
    fn label(&mut self) -> bool {
        self.skip(b" ");
        let before = self.rest.len();
        while self.rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            self.next();
        }
        self.rest.len() < before
    }

    fn flags(&mut self) -> bool {
        self.skip(b"gpiImM0123456789");
        true
    }

    /// One line of text, which must not go on behind a backslash. It may begin on the next line: `1i\` and a newline.
    fn text(&mut self) -> bool {
        self.rest = self.rest.strip_prefix(b"\\\n").unwrap_or(self.rest);
        let length = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        let line = self.rest.get(..length).unwrap_or_default();
        let plain = line.last() != Some(&b'\\');
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
            ":a;N;$!ba;s/\\n/ /g",
            ":a\ns/x/y/\nta",
            "/x/b;s/a/b/",
            "/x/bend\ns/a/b/\n:end",
            "s/a/b/;t;s/c/d/",
            "# a comment; e rm\np",
            "\\|a/b|d",
            "/a/Id;/b/Md",
            "$!{N;D}",
            "1a a\\tb",
            "1i\\\nnew text",
            "a\\\ne rm",
            "$a\\\nx\np",
            "l",
            "/a/,/b/{//!d}",
            "s/[a-z]*/x/;s/[^/]*$//",
            "s/[]x]/y/",
            "s/\\[/x/",
            "s#/usr#/opt#g",
            "/^$/d",
            "$ a text",
            "5q1",
            "s/[/]/e/",
            "s/[^/]*$//",
            "s/[]/]/e/",
            "s/[\\/]/e/",
            "s/[[:space:]]*$//",
            "z;s/^/x/",
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
            "v",
            ":a e",
            "b x y",
            "}e",
            "1!{e}",
            ":a;e",
            "bx;e",
            "t\ne",
            "# x\ne",
            "\\|a|e",
            "s/[/]/x/;w f",
            "s/[/b/;s/]x/;w f/e",
            "s/[[:alpha:]/]/x/",
            "s/[\\]/]/x/",
            "s/[/x/",
            "y/[/]/;w f/",
            "z;w f",
            "a x\ne rm",
            "s/a/b/mw f",
            "s/a/b/Me",
            "M",
            "f x",
            "}w f",
            "s/a/b/m;e",
            "\\,x,e",
            "i\\",
            "1i\\\nx\\\ny",
            "1i\\\nx\ne rm",
        ] {
            assert!(!sed(script), "{script}");
        }
    }
}
