//! Deletion vectors: rows of a file that no longer count, so that the file itself need not be written anew.
//!
//! The format is Delta's (PROTOCOL.md, "Deletion Vector Format"): a roaring bitmap of positions in the file. Several vectors share one object, which is
//! named by a UUID and lies in the table's folder; it is never changed.

use std::sync::Arc;

use deltalake_core::kernel::{DeletionVectorDescriptor, StorageType};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::base::TableName;

use super::place::Place;
use super::{DataFile, StoreError};

/// First bytes of a vector (little endian): a bitmap in the portable format.
const MAGIC: u32 = 1_681_511_377;
/// First byte of an object with vectors.
const VERSION: u8 = 1;
/// Digits of Z85 (ZeroMQ RFC 32).
const Z85: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
/// A UUID in Z85.
const UUID_DIGITS: usize = 20;

/// Which rows of a file are deleted, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionVector {
    descriptor: DeletionVectorDescriptor,
    /// The object that holds it, from the root of the store; `None` if the log itself does.
    path: Option<String>,
}

impl DeletionVector {
    /// As the log of `table` has it.
    pub(super) fn of(table: &TableName, descriptor: DeletionVectorDescriptor) -> Result<Self, StoreError> {
        let text = &descriptor.path_or_inline_dv;
        let path =
            match descriptor.storage_type {
                StorageType::Inline => None,
                StorageType::UuidRelativePath => {
                    let named = || {
                        let (prefix, digits) = text.split_at_checked(text.len().checked_sub(UUID_DIGITS)?)?;
                        let uuid = uuid::Uuid::from_slice(&decode(digits)?).ok()?;
                        Some(if prefix.is_empty() {
                            object(table, uuid)
                        } else {
                            format!("{}/{prefix}/{}", Place::table_folder(table), name(uuid))
                        })
                    };
                    Some(named().ok_or_else(|| StoreError::DeletionVector {
                        path: text.clone(),
                        problem: "its name is not a UUID".into(),
                    })?)
                }
                StorageType::AbsolutePath => {
                    let problem = "it lies outside the table's folder".into();
                    return Err(StoreError::DeletionVector { path: text.clone(), problem });
                }
            };
        Ok(Self { descriptor, path })
    }

    /// Seen from where `folder` is the store's root.
    pub(super) fn move_to(&mut self, folder: &str) {
        self.path = self.path.take().map(|path| format!("{folder}/{path}"));
    }

    /// As an action of the log has it.
    pub(super) fn descriptor(&self) -> &DeletionVectorDescriptor {
        &self.descriptor
    }

    /// How many rows are deleted.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.descriptor.cardinality).unwrap_or_default()
    }

    /// The object that holds the vector, from the root of the store; `None` if the log itself does.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Positions of the deleted rows in their file.
    pub(super) async fn read(&self, store: &Arc<dyn ObjectStore>) -> Result<RoaringTreemap, StoreError> {
        let broken = |problem: &str| StoreError::DeletionVector {
            path: self.path.clone().unwrap_or_else(|| "(in the log)".into()),
            problem: problem.into(),
        };
        let size = u64::try_from(self.descriptor.size_in_bytes).map_err(|_| broken("its size is negative"))?;
        let Some(path) = &self.path else {
            let bytes = decode(&self.descriptor.path_or_inline_dv).ok_or_else(|| broken("it is not in Z85"))?;
            return bitmap(bytes.get(..size as usize).unwrap_or(&bytes)).ok_or_else(|| broken("it is not a bitmap"));
        };
        let start = u64::try_from(self.descriptor.offset.unwrap_or(1)).map_err(|_| broken("its offset is negative"))?;
        let failed = |source| StoreError::Object { what: "reading", path: path.clone(), source };
        let bytes = store.get_range(&Path::from(path.as_str()), start..start + size + 8).await.map_err(failed)?;
        let (Some((length, rest)), true) = (bytes.split_at_checked(4), bytes.len() as u64 == size + 8) else {
            return Err(broken("it is cut short"));
        };
        let (content, sum) = rest.split_at(size as usize);
        if length != (size as u32).to_be_bytes() {
            return Err(broken("its size is not the one in the log"));
        }
        if sum != crc32(content).to_be_bytes() {
            return Err(broken("its checksum is wrong"));
        }
        bitmap(content).ok_or_else(|| broken("it is not a bitmap"))
    }
}

/// Marks rows of files as deleted, by their ascending positions in the file, in addition to those that were before. Nobody sees it until a commit
/// replaces the files by what is returned, in the order given; `None`: no row is left.
pub(super) async fn mark(
    store: &Arc<dyn ObjectStore>,
    table: &TableName,
    marks: Vec<(DataFile, Vec<u64>)>,
) -> Result<Vec<Option<DataFile>>, StoreError> {
    let id = uuid::Uuid::new_v4();
    let path = object(table, id);
    let mut bytes = vec![VERSION];
    let mut marked = Vec::with_capacity(marks.len());
    for (file, positions) in marks {
        let mut rows = match &file.deletion_vector {
            Some(vector) => vector.read(store).await?,
            None => RoaringTreemap::new(),
        };
        rows.extend(positions);
        let in_file = file.rows_in_file();
        if rows.len() >= in_file {
            marked.push(None);
            continue;
        }
        let too_large = |_| StoreError::DeletionVector { path: path.clone(), problem: "it would grow beyond 2 GB".into() };
        let offset = i32::try_from(bytes.len()).map_err(too_large)?;
        let size = write(&rows, &mut bytes)
            .map_err(|source| StoreError::DeletionVector { path: path.clone(), problem: source.to_string() })?;
        let descriptor = DeletionVectorDescriptor {
            storage_type: StorageType::UuidRelativePath,
            path_or_inline_dv: encode(id.as_bytes()),
            offset: Some(offset),
            size_in_bytes: i32::try_from(size).map_err(too_large)?,
            cardinality: i64::try_from(rows.len()).unwrap_or(i64::MAX),
        };
        marked.push(Some(DataFile {
            rows: in_file - rows.len(),
            stats: file.stats.map(loosened),
            deletion_vector: Some(DeletionVector { descriptor, path: Some(path.clone()) }),
            ..file
        }));
    }
    if marked.iter().any(Option::is_some) {
        let failed = |source| StoreError::Object { what: "writing", path: path.clone(), source };
        store.put(&Path::from(path.as_str()), bytes.into()).await.map_err(failed)?;
    }
    Ok(marked)
}

/// Statistics that also count deleted rows must say so.
fn loosened(stats: String) -> String {
    match stats.strip_prefix('{') {
        Some(rest) if !stats.contains("\"tightBounds\":false") => format!("{{\"tightBounds\":false,{rest}"),
        _ => stats,
    }
}

fn name(id: uuid::Uuid) -> String {
    format!("deletion_vector_{id}.bin")
}

fn object(table: &TableName, id: uuid::Uuid) -> String {
    format!("{}/{}", Place::table_folder(table), name(id))
}

/// Appends a vector and returns its size as the log counts it.
fn write(rows: &RoaringTreemap, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let size = 4 + rows.serialized_size();
    bytes.extend_from_slice(&(size as u32).to_be_bytes());
    let start = bytes.len();
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    rows.serialize_into(&mut *bytes)?;
    let sum = crc32(&bytes[start..]);
    bytes.extend_from_slice(&sum.to_be_bytes());
    Ok(size)
}

fn bitmap(bytes: &[u8]) -> Option<RoaringTreemap> {
    let (magic, rest) = bytes.split_at_checked(4)?;
    (magic == MAGIC.to_le_bytes()).then_some(())?;
    RoaringTreemap::deserialize_from(rest).ok()
}

/// CRC-32 as zip and PNG have it.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

/// Z85 of bytes whose count is a multiple of four.
fn encode(bytes: &[u8]) -> String {
    let four = |chunk: &[u8]| {
        let mut value = chunk.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte));
        let mut digits = [' '; 5];
        for digit in digits.iter_mut().rev() {
            *digit = char::from(Z85[(value % 85) as usize]);
            value /= 85;
        }
        digits
    };
    bytes.chunks(4).flat_map(four).collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u64>> = text.bytes().map(|digit| Some(Z85.iter().position(|other| *other == digit)? as u64)).collect();
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    for chunk in digits?.chunks(5) {
        let value = u32::try_from(chunk.iter().fold(0, |value, digit| value * 85 + digit)).ok().filter(|_| chunk.len() == 5)?;
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_z85_and_crc() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        assert_eq!(encode(&bytes), "HelloWorld"); // RFC 32
        assert_eq!(decode("HelloWorld").as_deref(), Some(bytes.as_slice()));
        assert_eq!((decode("Hell"), decode("Hell~"), decode("#####")), (None, None, None));
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926); // the check value of CRC-32/ISO-HDLC
    }

    #[test]
    fn vectors_of_other_programs_are_read() {
        let table: TableName = "raw.erp__orders".parse().unwrap();
        let vector = |storage_type, text: &str| {
            let descriptor = DeletionVectorDescriptor {
                storage_type,
                path_or_inline_dv: text.into(),
                offset: None,
                size_in_bytes: 44,
                cardinality: 6,
            };
            DeletionVector::of(&table, descriptor)
        };
        // As Delta's own tests have them: the rows 3, 4, 7, 11, 18, 29.
        let found = vector(StorageType::UuidRelativePath, "ab^-aqEH.-t@S}K{vb[*k^").unwrap();
        assert_eq!(found.path(), Some("raw/erp__orders/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"));
        let inline = vector(StorageType::Inline, "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L").unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let rows = futures::executor::block_on(inline.read(&store)).unwrap();
        assert_eq!(rows.iter().collect::<Vec<_>>(), [3, 4, 7, 11, 18, 29]);
        assert!(vector(StorageType::AbsolutePath, "s3://elsewhere/x.bin").is_err());
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let table: TableName = "raw.erp__orders".parse().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let file = |name: &str| DataFile {
            path: name.into(),
            size_bytes: 1,
            rows: 200_000,
            stats: Some("{\"numRecords\":200000}".into()),
            deletion_vector: None,
        };
        let first: Vec<u64> = vec![0, 70_000, 199_999];
        let marks = vec![(file("a"), first.clone()), (file("b"), (0..200_000).collect()), (file("c"), vec![5])];
        let marked = mark(&store, &table, marks).await.unwrap();
        let [Some(a), None, Some(c)] = marked.as_slice() else { panic!("{marked:?}") };
        assert_eq!((a.rows, a.rows_in_file(), c.rows), (199_997, 200_000, 199_999));
        assert_eq!(a.stats.as_deref(), Some("{\"tightBounds\":false,\"numRecords\":200000}"));
        let rows = |file: &DataFile| file.deletion_vector.clone().unwrap();
        assert_eq!(rows(a).read(&store).await.unwrap().iter().collect::<Vec<_>>(), first);
        let again = mark(&store, &table, vec![(a.clone(), vec![1, 70_000])]).await.unwrap();
        let again = again[0].as_ref().unwrap();
        assert_eq!(rows(again).read(&store).await.unwrap().iter().collect::<Vec<_>>(), [0, 1, 70_000, 199_999]);
        assert_eq!(again.stats, a.stats);

        let path = Path::from(rows(c).path().unwrap());
        let mut bytes = store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        store.put(&path, bytes.into()).await.unwrap();
        let broken = rows(c).read(&store).await.unwrap_err().to_string();
        assert!(broken.ends_with("its checksum is wrong"), "{broken}");
    }
}
