//! A zip archive of a few small files, stored as they are (APPNOTE 4.3): what `retrieve/configuration` gives.

use bytes::Bytes;
use flate2::Crc;

/// 2.0, as the features used here ask for.
const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1980-01-01, 00:00: the instants of the files are not known.
const DATE: u16 = 1 << 5 | 1;

/// The archive; each file is below 4 GiB, and there are fewer than 65,536.
pub fn archive(files: &[(String, Bytes)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let at = archive.len() as u32;
        let entry = entry(name, content);
        archive.extend(0x0403_4b50_u32.to_le_bytes());
        archive.extend(&entry);
        archive.extend(name.as_bytes());
        archive.extend(content);
        directory.extend(0x0201_4b50_u32.to_le_bytes());
        directory.extend(VERSION.to_le_bytes());
        directory.extend(&entry);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (archive.len() as u32, files.len() as u16);
    archive.extend(&directory);
    archive.extend(0x0605_4b50_u32.to_le_bytes());
    archive.extend([0; 4]);
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0; 2]);
    archive
}

/// What a file's own header and its entry in the directory have in common.
fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let mut entry = Vec::with_capacity(26);
    for half in [VERSION, FLAGS, 0, 0, DATE] {
        entry.extend(half.to_le_bytes());
    }
    for word in [crc.sum(), content.len() as u32, content.len() as u32] {
        entry.extend(word.to_le_bytes());
    }
    entry.extend((name.len() as u16).to_le_bytes());
    entry.extend([0; 2]);
    entry
}

#[cfg(test)]
mod tests {
    use super::archive;
    use bytes::Bytes;

    #[test]
    fn every_part_stands_where_the_end_of_the_directory_says() {
        let files = [("a.conf".to_owned(), Bytes::from("123456789")), ("b.conf".to_owned(), Bytes::new())];
        let zip = archive(&files);
        let word = |at: usize| u32::from_le_bytes(zip[at..at + 4].try_into().unwrap());
        let end = zip.len() - 22;
        assert_eq!(word(end), 0x0605_4b50);
        assert_eq!((zip[end + 8], zip[end + 10]), (2, 2));
        let directory = word(end + 16) as usize;
        assert_eq!(word(end + 12) as usize, end - directory);
        assert_eq!(word(directory), 0x0201_4b50);
        // The check value of CRC-32.
        assert_eq!((word(directory + 16), word(14)), (0xcbf4_3926, 0xcbf4_3926));
        assert_eq!(&zip[30..45], b"a.conf123456789");
        let second = directory + 46 + 6;
        assert_eq!(word(second), 0x0201_4b50);
        assert_eq!(word(word(second + 42) as usize), 0x0403_4b50);
    }
}
