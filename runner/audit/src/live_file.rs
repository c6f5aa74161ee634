//! A file of the record, read while its writer may be at it.
//!
//! A write is not one step for whoever reads: they may come upon the first half of a line. Whether the other half is
//! still to come shows within a moment; a piece that stays one is what a writer left that died.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// How often somebody who came upon a piece looks again, with a [`PAUSE`] before: 200 ms in all.
const LOOKS: u32 = 40;

/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(5);

/// A file that ends where a line does, unless its writer died within one. A read that comes to an unfinished line waits for
/// its end, for some 200 ms at most.
#[derive(Debug)]
pub struct LiveFile {
    file: BufReader<File>,
    /// What was read last does not end a line.
    within_line: bool,
}

impl LiveFile {
    /// Opens a file, to be read from its beginning.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::with_capacity(BUFFER, File::open(path)?);
        Ok(Self { file, within_line: false })
    }
}

impl BufRead for LiveFile {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        for _ in 0..LOOKS {
            if !self.within_line || !self.file.fill_buf()?.is_empty() {
                return self.file.fill_buf();
            }
            std::thread::sleep(PAUSE);
        }
        // Who has waited for its end once does not again.
        self.within_line = false;
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(last) = amount.checked_sub(1).and_then(|last| self.file.buffer().get(last)) {
            self.within_line = *last != b'\n';
        }
        self.file.consume(amount);
    }
}

impl Read for LiveFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_that_is_just_written_is_read_to_its_end() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let mut writer = File::create(&path).unwrap();
        writer.write_all(b"one\ntw").unwrap();
        let mut reader = LiveFile::open(&path).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                writer.write_all(b"o\n").unwrap();
            });
            reader.read_line(&mut line).unwrap();
        });
        assert_eq!(line, "one\ntwo\n");
    }

    #[test]
    fn a_file_ends_where_its_last_line_does_and_a_piece_is_handed_out_as_one() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        for text in ["", "one\n", "one\ntw"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(io::read_to_string(LiveFile::open(&path).unwrap()).unwrap(), text);
        }
    }
}
