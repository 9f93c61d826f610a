//! Runs a target on many changed inputs, and says how a finding is repeated.

use std::collections::HashSet;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::mutate::{Random, mutated};

/// The seed of a run that says none.
const SEED: u64 = 1;
/// How many times the cases of a plain run a long run has.
const LONG: usize = 50;
/// Most inputs that are kept because something new happened.
const KEPT_MAX: usize = 4_000;

/// What is read: bytes in, a number out that says what happened. Two inputs of which the same is said are alike; one of
/// which something new is said is changed further.
pub struct Target {
    /// Its name; `tests/fuzz/found/<name>/` holds what was found before.
    pub name: &'static str,
    /// Valid inputs.
    pub corpus: Vec<Vec<u8>>,
    /// Cases of a plain run.
    pub cases: usize,
    /// Inputs are cut to this.
    pub bytes_max: usize,
    /// What may be held at a time, in bytes: so much whatever the input,
    pub held_fixed: u64,
    /// and so much for each byte of it.
    pub held_per_byte: u64,
}

impl Target {
    /// `HOLDFAST_FUZZ_SEED` chooses the seed, `HOLDFAST_FUZZ_CASES` the number of cases.
    pub fn run(self, long: bool, read: impl Fn(&[u8]) -> u64) {
        let seed = setting("HOLDFAST_FUZZ_SEED").unwrap_or(SEED + u64::from(long));
        let cases = self.cases * if long { LONG } else { 1 };
        let cases = setting("HOLDFAST_FUZZ_CASES").map_or(cases, |cases| cases as usize);
        let mut seen = HashSet::new();
        let mut held_most = 0;
        let valid = self.corpus.len();
        let mut corpus = self.corpus.clone();
        corpus.extend(self.found());
        for (at, input) in corpus.iter().enumerate() {
            let (said, held) = self.case(input, &read).unwrap_or_else(|problem| {
                panic!("{}: input {at} of the corpus, unchanged: {problem}", self.name)
            });
            seen.insert(said);
            held_most = held_most.max(held);
        }
        for case in 0..cases {
            let mut random = Random::new(Random::new(seed).next() ^ case as u64);
            let choose = |random: &mut Random| {
                // every other time a valid one: what came of changes drifts away from the format
                let most = if random.below(2) == 0 { valid } else { corpus.len() };
                random.below(most)
            };
            let (at, with) = (choose(&mut random), choose(&mut random));
            let input = mutated(&corpus[at], &corpus[with], self.bytes_max, &mut random);
            match self.case(&input, &read) {
                Ok((said, held)) => {
                    held_most = held_most.max(held);
                    if seen.insert(said) && corpus.len() < KEPT_MAX {
                        corpus.push(input);
                    }
                }
                Err(problem) => self.report(seed, case, &input, &problem),
            }
        }
        println!(
            "{}: seed {seed}, {cases} cases of {valid} inputs, {} outcomes, {held_most} bytes held at most",
            self.name,
            seen.len(),
        );
    }

    /// What is said of `input` and how many bytes were held, or what is wrong.
    fn case(&self, input: &[u8], read: &impl Fn(&[u8]) -> u64) -> Result<(u64, u64), String> {
        let mut said = None;
        let held = allocation_counter::measure(|| {
            said = catch_unwind(AssertUnwindSafe(|| read(input))).ok();
        })
        .bytes_max;
        let said = said.ok_or("it panicked, see above")?;
        let most = self.held_fixed + self.held_per_byte * input.len() as u64;
        if held > most {
            return Err(format!("it held {held} bytes at a time, more than {most}"));
        }
        Ok((said, held))
    }

    fn report(&self, seed: u64, case: usize, input: &[u8], problem: &str) {
        let name = format!("{}-{seed}-{case}.bin", self.name);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let kept = match std::fs::write(&path, input) {
            Ok(()) => format!("it is in {}", path.display()),
            Err(error) => format!("it cannot be kept: {error}"),
        };
        let shown = &input[..input.len().min(300)];
        panic!(
            "{}: case {case} of seed {seed} (HOLDFAST_FUZZ_SEED={seed} HOLDFAST_FUZZ_CASES={}): {problem}\n\
             {} bytes, {kept}: put it into tests/fuzz/found/{}/ before you mend it\n{}",
            self.name,
            case + 1,
            input.len(),
            self.name,
            shown.escape_ascii(),
        );
    }

    /// What was found before.
    fn found(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found").join(self.name);
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A hash of what happened.
pub fn said(what: impl std::hash::Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A number without its detail, so that not every count is something new.
pub fn about(count: usize) -> u32 {
    usize::BITS - count.leading_zeros()
}

/// A file as it comes from storage, in parts of changing length. Panics when it is read oftener than there is reason to:
/// that is how a reader that turns in circles is told, and not by time.
pub struct Counted<'a> {
    rest: &'a [u8],
    parts: Random,
    reads_left: usize,
}

impl<'a> Counted<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        // each read takes a byte or more; the end may be asked for again by each layer
        Self { rest: bytes, parts: Random::new(bytes.len() as u64), reads_left: bytes.len() + 100 }
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.reads_left = self.reads_left.checked_sub(1).expect("the input is read again and again");
        let most = match self.parts.below(4) {
            0 => 1 + self.parts.below(16),
            _ => 64 << 10,
        };
        let count = most.min(self.rest.len()).min(out.len());
        let (part, rest) = self.rest.split_at(count);
        out[..count].copy_from_slice(part);
        self.rest = rest;
        Ok(count)
    }
}
