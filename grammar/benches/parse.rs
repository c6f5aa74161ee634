//! How long an inventory takes, by size of the script. Run with `cargo bench -p palisade-grammar`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// One everyday command.
#[divan::bench]
fn command(bencher: Bencher<'_, '_>) {
    measure(bencher, b"git commit -m \"fix: the parser\" --no-verify".to_vec());
}

/// A pipeline of everyday commands.
#[divan::bench]
fn pipeline(bencher: Bencher<'_, '_>) {
    measure(
        bencher,
        b"cd \"$(git rev-parse --show-toplevel)\" && grep -rn TODO src | sort -u | head -n 20 > todo.txt".to_vec(),
    );
}

/// Scripts of many commands, up to the limit.
#[divan::bench(args = [4 * 1024, 64 * 1024])]
fn script(bencher: Bencher<'_, '_>, bytes: usize) {
    const LINE: &[u8] = b"cp -r 'a b' \"$TARGET/c\" && sed -i s/x/y/ f | tee log; A=1 env ls -la src # why\n";
    let mut script = LINE.repeat(bytes / LINE.len());
    script.resize(bytes, b'\n');
    measure(bencher, script);
}

/// What a hostile script can make of the most bytes.
#[divan::bench(args = ["true|", "a;", "$(", "a ", "'", "(", "cat <<E\nE\n", "\"$(a)\" ", "cat ", "sort $x ", "ls -R ", "cd a;", "A=$(b) "])]
fn hostile(bencher: Bencher<'_, '_>, piece: &str) {
    measure(bencher, piece.as_bytes().repeat(64 * 1024 / piece.len()));
}

fn measure(bencher: Bencher<'_, '_>, script: Vec<u8>) {
    bencher.counter(BytesCount::of_slice(&script)).bench(|| palisade_grammar::inventory(black_box(&script)));
}
