//! Words for a script.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// A word as bash reads it back: as it is where no byte of it means anything, or in quotation marks.
pub(crate) fn quote(word: &OsStr, always: bool) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    if !always && !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            other => quoted.push(other),
        }
    }
    quoted.push(b'\'');
    quoted
}
