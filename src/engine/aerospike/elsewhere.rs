//! A file that one storage does not give whole, read on from another.
//!
//! Only blocks that were compared with their hashes go on, so whichever storage gives a block, what comes out is what was
//! written: to go on elsewhere at the start of a block repeats nothing and leaves nothing out. A file without hashes is
//! looked for elsewhere only before its first byte: nothing shows that what follows would be the same.

use bytes::{Buf, Bytes};

use super::decode::{FileSource, damaged};
use crate::engine::FileToRead;
use crate::engine::copies::another_may_have;
use crate::error::{Error, Result};
use crate::storage::ObjectReader;
use crate::tasks::unless_canceled;

/// Which storage a file is read from, and what the others have said.
pub(super) struct Reading<'a> {
    source: &'a FileSource,
    file: &'a FileToRead,
    place: usize,
    /// The byte that the answers are about.
    at: u64,
    refused: Vec<(usize, Error)>,
}

impl<'a> Reading<'a> {
    /// Opens a file where it is looked for first, else in the first storage that has it.
    pub(super) fn open(
        source: &'a FileSource,
        file: &'a FileToRead,
    ) -> Result<(Self, Box<dyn ObjectReader>)> {
        let place = file.copies.as_ref().map_or(0, |copies| copies.first(file));
        let mut opened = Self { source, file, place, at: 0, refused: Vec::new() };
        let reader = match opened.reader() {
            Ok(reader) => reader,
            Err(error) => opened.go_on(error, 0)?.0,
        };
        Ok((opened, reader))
    }

    /// After `error`: the file from another storage, read up to byte `at`, with what was read beyond that.
    ///
    /// Errors: what was said first about this byte, and after it what the others say; `canceled`.
    pub(super) fn go_on(&mut self, error: Error, at: u64) -> Result<(Box<dyn ObjectReader>, Bytes)> {
        let Some(copies) = self.file.copies.as_ref().filter(|_| another_may_have(&error)) else {
            return Err(error);
        };
        if self.at != at {
            // What had no good byte before may have these.
            self.at = at;
            self.refused.clear();
        }
        self.refused.push((self.place, error));
        while let Some(place) = copies.next(|place| self.refused.iter().any(|(asked, _)| *asked == place)) {
            self.place = place;
            match self.reader().and_then(|reader| self.skip(reader, at)) {
                Ok(found) => {
                    for (failed, error) in &self.refused {
                        copies.use_instead(place, *failed, error);
                    }
                    return Ok(found);
                }
                Err(error) if self.source.cancel.is_cancelled() => return Err(error),
                // Whatever keeps this one from being read, its keys or its certificates: the next one may be good.
                Err(error) => self.refused.push((place, error)),
            }
        }
        Err(self.nobody(|place| copies.name(place)))
    }

    fn nobody<'n>(&mut self, name: impl Fn(usize) -> &'n str) -> Error {
        let mut refused = std::mem::take(&mut self.refused).into_iter();
        let invariant = || damaged(self.file, "no storage was asked");
        let first = refused.next().map_or_else(invariant, |(_, error)| error);
        let others: Vec<String> = refused
            .map(|(place, error)| format!("storage {}: {}", name(place), error.report_without_hint()))
            .collect();
        if others.is_empty() {
            first
        } else {
            first.context(format!("no copy has it ({})", others.join("; ")))
        }
    }

    /// Opens the file at the present place. Of a copy the size must be right: it is another object.
    fn reader(&self) -> Result<Box<dyn ObjectReader>> {
        let (source, file) = (self.source, self.file);
        let opened = async {
            let storage = match &file.copies {
                None => return source.storage.open(&file.key).await,
                Some(copies) => copies.storage(self.place, &source.storage).await?,
            };
            let reader = storage.open(&file.key).await?;
            match reader.size_bytes() {
                size if size == file.size => Ok(reader),
                size => Err(damaged(file, &format!("it has {size} bytes, {} were expected", file.size))),
            }
        };
        source.runtime.block_on(unless_canceled(&source.cancel, opened))
    }

    /// Reads up to byte `at`. Storages read from the start only; this is done once for what is damaged.
    fn skip(&self, mut reader: Box<dyn ObjectReader>, at: u64) -> Result<(Box<dyn ObjectReader>, Bytes)> {
        let mut left = at;
        while left > 0 {
            let next = unless_canceled(&self.source.cancel, reader.next());
            let Some(mut bytes) = self.source.runtime.block_on(next)? else {
                return Err(damaged(self.file, &format!("it ends {left} bytes before byte {at}")));
            };
            let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            left -= skipped as u64;
            if !bytes.is_empty() {
                return Ok((reader, bytes));
            }
        }
        Ok((reader, Bytes::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use tokio::runtime::Handle;
    use tokio::sync::OnceCell;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::asb::cipher::Unlock;
    use crate::asb::{BLOCK_BYTES, BlockHasher, Encoder, Version};
    use crate::engine::copies::{Copies, Other};
    use crate::storage::faulty::{Fault, Faulty, Op};
    use crate::storage::{LocalStorage, Storage};

    const KEY: &str = "r/backup/1/data/ns/f.asb";
    const LINE: &[u8] = b"* i ns set name N 1 bin N\n";

    /// A file of three blocks in three storages: `own`, `near`, `far`.
    struct Bench {
        _dir: tempfile::TempDir,
        storages: [Faulty; 3],
        good: Vec<u8>,
        told: Arc<Mutex<Vec<String>>>,
    }

    async fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut good = Vec::new();
        Encoder::file_header(&mut good, b"ns", true, Version::V3_1);
        while good.len() < 2 * BLOCK_BYTES + 1000 {
            good.extend_from_slice(LINE);
        }
        let open = async |name: &str| {
            Faulty::new(Arc::new(LocalStorage::create(dir.path().join(name)).await.unwrap()))
        };
        let storages = [open("own").await, open("near").await, open("far").await];
        let bench = Bench { storages, _dir: dir, good, told: Arc::default() };
        bench.put([&[], &[], &[]]).await;
        bench
    }

    impl Bench {
        /// Each storage has the file, with these bytes flipped.
        async fn put(&self, flipped: [&[usize]; 3]) {
            for (storage, flipped) in self.storages.iter().zip(flipped) {
                let mut bytes = self.good.clone();
                for at in flipped {
                    bytes[*at] ^= 1;
                }
                storage.put(KEY, Bytes::from(bytes)).await.unwrap();
            }
        }

        fn file(&self) -> FileToRead {
            let mut hasher = BlockHasher::new();
            hasher.update(&self.good);
            let hashes = hasher.finish();
            let other = |name: &str, storage: &Faulty| {
                let storage: Arc<dyn Storage> = Arc::new(storage.clone());
                let open = Arc::new(move || std::future::ready(Ok(Arc::clone(&storage))).boxed());
                Other { name: name.to_owned(), open, opened: OnceCell::new() }
            };
            let [_, near, far] = &self.storages;
            let told = Arc::clone(&self.told);
            let tell = Box::new(move |text| told.lock().unwrap().push(text));
            let others = vec![other("near", near), other("far", far)];
            FileToRead {
                key: KEY.to_owned(),
                size: self.good.len() as u64,
                root: Some(hashes.root),
                blocks: Arc::new(hashes.blocks),
                unlock: Unlock::default(),
                copies: Some(Arc::new(Copies::new("own".to_owned(), others, tell))),
            }
        }

        /// What was said of it, and how many items came out.
        async fn read(&self, file: &FileToRead) -> (Result<usize>, Vec<String>) {
            let source = FileSource {
                storage: Arc::new(self.storages[0].clone()),
                runtime: Handle::current(),
                cancel: CancellationToken::new(),
                watch: None,
            };
            let file = file.clone();
            let read = crate::tasks::blocking(move || {
                let mut items = 0;
                let read = source.read(&file, &mut |_| {
                    items += 1;
                    Ok(())
                });
                read.map(|_| items)
            });
            (read.await, std::mem::take(&mut *self.told.lock().unwrap()))
        }

        async fn whole(&self, file: &FileToRead) -> Vec<String> {
            let (items, told) = self.read(file).await;
            let header = self.good.iter().position(|byte| *byte == b'*').unwrap();
            assert_eq!(items.unwrap(), (self.good.len() - header) / LINE.len(), "{told:?}");
            told
        }

        async fn heal(&self) {
            self.storages.iter().for_each(Faulty::heal);
            self.put([&[], &[], &[]]).await;
        }
    }

    /// What is whole nowhere is put together from what is good of each: once, and nothing twice.
    #[tokio::test]
    async fn a_damaged_block_is_read_elsewhere_and_the_next_one_where_it_is_good() {
        let bench = bench().await;
        assert!(bench.whole(&bench.file()).await.is_empty());
        bench.put([&[BLOCK_BYTES + 5], &[7], &[9]]).await;
        let told = bench.whole(&bench.file()).await;
        assert!(
            told.len() == 1 && told[0].contains("storage own: file") && told[0].contains(KEY),
            "{told:?}"
        );
        assert!(told[0].contains("block 1, ") && told[0].ends_with("read from storage near"), "{told:?}");
        bench.put([&[5, 2 * BLOCK_BYTES], &[7, BLOCK_BYTES], &[BLOCK_BYTES, 2 * BLOCK_BYTES + 999]]).await;
        let told = bench.whole(&bench.file()).await;
        let of = |block: &str, from: &str, to: &str| {
            let is_it = |text: &&String| text.contains(&format!("block {block}, "));
            let is_so = |text: &&String| text.starts_with(&format!("storage {from}: ")) && text.ends_with(to);
            told.iter().filter(is_it).filter(is_so).count()
        };
        // Block 0 of `own` and `near`, block 1 of `far` and then of `own`; block 2 of `own`, of which `near` is whole.
        assert_eq!((of("0", "own", "far"), of("0", "near", "far")), (1, 1), "{told:#?}");
        assert_eq!((of("1", "far", "own"), of("2", "own", "near")), (1, 1), "{told:#?}");
    }

    #[tokio::test]
    async fn what_no_storage_has_names_each_of_them() {
        let bench = bench().await;
        bench.put([&[BLOCK_BYTES], &[BLOCK_BYTES + 1], &[2 * BLOCK_BYTES - 1]]).await;
        let error = bench.read(&bench.file()).await.0.unwrap_err();
        assert_eq!(error.code(), "file-damaged");
        for name in ["no copy has it", "storage near", "storage far", "block 1"] {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(!error.to_string().contains("storage own"), "{error}");
    }

    /// Its keys are not given, say: that is no reason to leave out the next one.
    #[tokio::test]
    async fn a_storage_that_cannot_be_opened_is_passed_over() {
        let bench = bench().await;
        bench.put([&[BLOCK_BYTES], &[], &[]]).await;
        let refused =
            || Error::temporary("secret-agent-unreachable", "the agent of storage near does not answer");
        let open = Arc::new(move || std::future::ready(Err(refused())).boxed());
        let near = Other { name: "near".to_owned(), open, opened: OnceCell::new() };
        let far: Arc<dyn Storage> = Arc::new(bench.storages[2].clone());
        let open = Arc::new(move || std::future::ready(Ok(Arc::clone(&far))).boxed());
        let far = Other { name: "far".to_owned(), open, opened: OnceCell::new() };
        let told = Arc::clone(&bench.told);
        let tell = Box::new(move |text| told.lock().unwrap().push(text));
        let copies = Some(Arc::new(Copies::new("own".to_owned(), vec![near, far], tell)));
        let told = bench.whole(&FileToRead { copies, ..bench.file() }).await;
        assert!(told.iter().any(|text| text.contains("storage near: ")), "{told:?}");
        assert!(told.iter().all(|text| text.ends_with("read from storage far")), "{told:?}");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_cut_or_not_given_is_read_elsewhere() {
        let bench = bench().await;
        let [own, near, _] = &bench.storages;
        own.delete(KEY).await.unwrap();
        near.put(KEY, Bytes::copy_from_slice(&bench.good[..BLOCK_BYTES])).await.unwrap();
        let told = bench.whole(&bench.file()).await;
        assert!(told.len() == 2 && told[1].contains("storage near") && told[1].contains("bytes"), "{told:?}");
        bench.heal().await;
        for (op, nth) in [(Op::Open, 1), (Op::Next, 1), (Op::Next, 6)] {
            bench.storages[0].fail(Fault::nth(op, nth));
            let file = bench.file();
            assert_eq!(bench.whole(&file).await.len(), 1, "{op:?} {nth}");
            // A storage that does not answer is not the first that is asked for the next file.
            assert_eq!(file.copies.as_ref().unwrap().first(&file), 1, "{op:?} {nth}");
            bench.heal().await;
        }
        bench.put([&[0], &[], &[]]).await;
        let file = bench.file();
        assert_eq!(bench.whole(&file).await.len(), 1);
        assert_eq!(file.copies.as_ref().unwrap().first(&file), 0, "it has answered");
    }

    /// Nothing shows that the rest would be the same.
    #[tokio::test]
    async fn a_file_without_hashes_is_read_elsewhere_only_before_its_first_byte() {
        let bench = bench().await;
        let bare = || FileToRead { root: None, blocks: Arc::default(), ..bench.file() };
        bench.storages[0].delete(KEY).await.unwrap();
        assert_eq!(bench.whole(&bare()).await.len(), 1);
        bench.heal().await;
        bench.storages[0].fail(Fault::nth(Op::Next, 3));
        let (read, told) = bench.read(&bare()).await;
        assert!(read.unwrap_err().is_temporary() && told.is_empty(), "{told:?}");
    }

    #[tokio::test]
    async fn what_is_not_about_the_bytes_is_asked_of_nobody_else() {
        let bench = bench().await;
        let file = bench.file();
        let source = FileSource {
            storage: Arc::new(bench.storages[0].clone()),
            runtime: Handle::current(),
            cancel: CancellationToken::new(),
            watch: None,
        };
        source.cancel.cancel();
        let error = crate::tasks::blocking(move || source.read(&file, &mut |_| Ok(()))).await.unwrap_err();
        assert_eq!(error.code(), "canceled");
        assert!(bench.storages[1..].iter().all(|one| one.calls(Op::Open) == 0));
    }
}
