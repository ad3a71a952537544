//! A column of a row group on its way into pages.
//!
//! Parquet's own writer takes values one by one and is made for every shape of data. Columns of tables here are flat, their values come in whole
//! arrays, and a page has at most some thousand of them: so a page is collected as plain vectors and encoded at once.

use std::io::{self, Write};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, NullBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::bounds::Bounds;
use super::dictionary::Dictionary;
use super::{DICTIONARY_BYTES, PAGE_ROWS, pack};

/// Bytes of texts at which a page ends; one text may be longer.
const PAGE_BYTES: usize = 1 << 20;
/// A page of texts ends earlier where it has this many rows and bytes: the fewer, the less is written anew for one row; the more, the better they
/// are compressed (a table of 16 columns, one of them texts of 27 bytes, is 4 % smaller with four times as many).
const TEXT_PAGE_ROWS: usize = 1 << 8;
const TEXT_PAGE_BYTES: usize = 8 << 10;

/// Of the table in which zstd looks for what it saw before. It has this size for larger pages, and then fits into a core's own cache: for small ones it
/// would be four times as large, and cost more than it saves.
const HASH_LOG: u32 = 13;
/// The fewest bytes that zstd refers back to: 8 % faster than by its own choice for small pages, and 2 % larger.
const MATCH_BYTES_MIN: u32 = 7;
/// Pages of a column that are stored almost as they are after one that became smaller by less than a [`GAIN_MIN`]th: packed numbers, mostly.
const HOPELESS_PAGES: usize = 15;
const GAIN_MIN: usize = 32;

/// Compresses pages; its working memory is kept from one to the next.
pub(in crate::store) struct Codec {
    usual: Compressor<'static>,
    /// Hardly looks for anything, for pages that hardly become smaller.
    fastest: Compressor<'static>,
    /// A page before it is compressed.
    page: Vec<u8>,
}

impl Codec {
    pub(in crate::store) fn new() -> io::Result<Self> {
        let mut usual = Self::compressor(ZstdLevel::default().compression_level())?;
        usual.set_parameter(CParameter::MinMatch(MATCH_BYTES_MIN))?;
        Ok(Self { usual, fastest: Self::compressor(*zstd::compression_level_range().start())?, page: Vec::new() })
    }

    fn compressor(level: i32) -> io::Result<Compressor<'static>> {
        let mut compressor = Compressor::new(level)?;
        compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
        Ok(compressor)
    }

    fn compress(&mut self, bytes: &[u8], is_hopeless: bool) -> io::Result<Bytes> {
        let compressor = if is_hopeless { &mut self.fastest } else { &mut self.usual };
        compressor.compress(bytes).map(Bytes::from)
    }
}

/// How single values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Boolean,
    Int32,
    Int64,
    Double,
    /// Of any length.
    Bytes,
    /// Of this length; a number, the highest byte first.
    Fixed(usize),
}

/// Values without nulls.
pub(super) enum Values {
    /// Doubles are their bits.
    Numbers(Vec<i64>),
    Bytes {
        lengths: Vec<i64>,
        body: Vec<u8>,
    },
}

impl Values {
    fn of(form: Form) -> Self {
        match form {
            Form::Bytes | Form::Fixed(_) => Self::Bytes { lengths: Vec::new(), body: Vec::new() },
            _ => Self::Numbers(Vec::new()),
        }
    }

    /// No values, of the same kind.
    pub(super) fn none(&self) -> Self {
        Self::of(if matches!(self, Self::Numbers(_)) { Form::Int64 } else { Form::Bytes })
    }

    fn clear(&mut self) {
        match self {
            Self::Numbers(numbers) => numbers.clear(),
            Self::Bytes { lengths, body } => {
                lengths.clear();
                body.clear();
            }
        }
    }

    /// Appends the values that are not null.
    pub(super) fn append(&mut self, form: Form, array: &ArrayRef) -> Result<(), ParquetError> {
        let unexpected = || ParquetError::General(format!("no column of {form:?} holds {}", array.data_type()));
        match (array.data_type(), &mut *self) {
            (DataType::Int32, Self::Numbers(to)) => append::<Int32Type>(array, to, i64::from),
            (DataType::Date32, Self::Numbers(to)) => append::<Date32Type>(array, to, i64::from),
            (DataType::Int64, Self::Numbers(to)) => append::<Int64Type>(array, to, |value| value),
            (DataType::Timestamp(_, _), Self::Numbers(to)) => append::<TimestampMicrosecondType>(array, to, |value| value),
            (DataType::Float64, Self::Numbers(to)) => append::<Float64Type>(array, to, |value| value.to_bits().cast_signed()),
            // 18 digits at most.
            (DataType::Decimal128(_, _), Self::Numbers(to)) => append::<Decimal128Type>(array, to, |value| value as i64),
            (DataType::Boolean, Self::Numbers(to)) => to.extend(array.as_boolean().iter().flatten().map(i64::from)),
            (DataType::Decimal128(_, _), Self::Bytes { lengths, body }) => {
                let Form::Fixed(length) = form else { return Err(unexpected()) };
                for value in array.as_primitive::<Decimal128Type>().iter().flatten() {
                    lengths.push(length as i64);
                    body.extend_from_slice(&value.to_be_bytes()[16 - length..]);
                }
            }
            (DataType::Utf8, Self::Bytes { .. }) => {
                let texts = array.as_string::<i32>();
                self.append_bytes(array, texts.value_offsets(), texts.value_data());
            }
            (DataType::Binary, Self::Bytes { .. }) => {
                let binaries = array.as_binary::<i32>();
                self.append_bytes(array, binaries.value_offsets(), binaries.value_data());
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    /// Appends the values to a data page in the way that fits their form best; says which.
    fn encoded(&self, form: Form, page: &mut Vec<u8>) -> Encoding {
        match (self, form) {
            (Self::Numbers(numbers), Form::Int32 | Form::Int64) => {
                pack::differences(numbers, form == Form::Int32, page);
                Encoding::DELTA_BINARY_PACKED
            }
            (Self::Bytes { lengths, body }, Form::Bytes) => {
                pack::differences(lengths, true, page);
                page.extend_from_slice(body);
                Encoding::DELTA_LENGTH_BYTE_ARRAY
            }
            _ => {
                self.one_by_one(form, page);
                Encoding::PLAIN
            }
        }
    }

    /// Appends the values one after the other.
    fn one_by_one(&self, form: Form, page: &mut Vec<u8>) {
        match self {
            Self::Numbers(numbers) if form == Form::Boolean => pack::booleans(numbers, page),
            Self::Numbers(numbers) if form == Form::Int32 => {
                numbers.iter().for_each(|value| page.extend_from_slice(&(*value as i32).to_le_bytes()))
            }
            Self::Numbers(numbers) => numbers.iter().for_each(|value| page.extend_from_slice(&value.to_le_bytes())),
            Self::Bytes { body, .. } if form != Form::Bytes => page.extend_from_slice(body),
            Self::Bytes { lengths, body } => {
                let mut rest = body.as_slice();
                for length in lengths {
                    let (value, after) = rest.split_at(*length as usize);
                    page.extend_from_slice(&(*length as u32).to_le_bytes());
                    page.extend_from_slice(value);
                    rest = after;
                }
            }
        }
    }

    fn append_bytes(&mut self, array: &ArrayRef, offsets: &[i32], data: &[u8]) {
        let Self::Bytes { lengths, body } = self else { return };
        let range = |row: usize| offsets[row] as usize..offsets[row + 1] as usize;
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                lengths.extend(offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])));
                body.extend_from_slice(&data[offsets[0] as usize..offsets[array.len()] as usize]);
            }
            Some(nulls) => {
                for row in nulls.valid_indices() {
                    lengths.push(range(row).len() as i64);
                    body.extend_from_slice(&data[range(row)]);
                }
            }
        }
    }
}

fn append<T: ArrowPrimitiveType>(array: &ArrayRef, to: &mut Vec<i64>, number: impl Fn(T::Native) -> i64) {
    let values = array.as_primitive::<T>().values();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => to.extend(values.iter().map(|value| number(*value))),
        Some(nulls) => to.extend(nulls.valid_indices().map(|row| number(values[row]))),
    }
}

/// What is known of a page besides its bytes.
pub(in crate::store) struct PageFacts {
    pub(in crate::store) rows: usize,
    pub(in crate::store) nulls: usize,
    pub(in crate::store) encoding: Encoding,
    pub(in crate::store) bounds: Option<Bounds>,
    pub(in crate::store) uncompressed_bytes: usize,
}

/// A column of a row group as it is written. Where its pages are said to be counts from any start.
pub(in crate::store) struct Chunk {
    pub(in crate::store) bytes: Vec<Bytes>,
    pub(in crate::store) metadata: ColumnChunkMetaData,
    pub(in crate::store) column_index: ColumnIndexMetaData,
    pub(in crate::store) offset_index: OffsetIndexMetaData,
}

/// Encodes one column of one row group.
pub(in crate::store) struct Column {
    pub(super) descriptor: ColumnDescPtr,
    pub(super) form: Form,
    pub(super) dictionary: Option<Dictionary>,
    /// Whether the dictionary is still used; it is given up where it grows too large.
    with_dictionary: bool,
    /// The page that is being filled.
    rows: usize,
    validity: NullBufferBuilder,
    values: Values,
    /// Pages so far, without the dictionary that comes before them.
    pages: TrackedWrite<Vec<u8>>,
    uncompressed_bytes: usize,
    /// How many of the next pages will hardly become smaller.
    hopeless_pages: usize,
    rows_before: usize,
    nulls: usize,
    bounds: Option<Bounds>,
    encodings: Vec<PageEncodingStats>,
    offsets: Vec<(usize, usize, usize)>,
    index: ColumnIndexBuilder,
}

impl Column {
    pub(in crate::store) fn new(descriptor: ColumnDescPtr, with_dictionary: bool) -> Self {
        let form = match descriptor.physical_type() {
            Type::BOOLEAN => Form::Boolean,
            Type::INT32 => Form::Int32,
            Type::DOUBLE => Form::Double,
            Type::BYTE_ARRAY => Form::Bytes,
            Type::FIXED_LEN_BYTE_ARRAY => Form::Fixed(descriptor.type_length().unsigned_abs() as usize),
            _ => Form::Int64, // no table has columns of the others
        };
        let with_dictionary = with_dictionary && form != Form::Boolean;
        let values = Values::of(form);
        Self {
            dictionary: with_dictionary.then(|| Dictionary::new(&values)),
            index: ColumnIndexBuilder::new(descriptor.physical_type()),
            descriptor,
            form,
            with_dictionary,
            rows: 0,
            validity: NullBufferBuilder::new(0),
            values,
            pages: TrackedWrite::new(Vec::new()),
            uncompressed_bytes: 0,
            hopeless_pages: 0,
            rows_before: 0,
            nulls: 0,
            bounds: None,
            encodings: Vec::new(),
            offsets: Vec::new(),
        }
    }

    /// Makes room for pages of so many bytes.
    pub(in crate::store) fn with_room(mut self, bytes: usize) -> Self {
        self.pages = TrackedWrite::new(Vec::with_capacity(bytes));
        self
    }

    /// About how much memory the column takes.
    pub(in crate::store) fn bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes_plain(self.form));
        self.pages.bytes_written() + dictionary + self.page_bytes()
    }

    fn page_bytes(&self) -> usize {
        match &self.values {
            Values::Numbers(numbers) => numbers.len() * 8,
            Values::Bytes { body, .. } => body.len(),
        }
    }

    /// Appends the values of `array`, which has the column's type.
    pub(in crate::store) fn write(&mut self, array: &ArrayRef, codec: &mut Codec) -> Result<(), ParquetError> {
        let mut rest = array.clone();
        while !rest.is_empty() {
            let piece = rest.slice(0, self.room(&rest));
            rest = rest.slice(piece.len(), rest.len() - piece.len());
            match piece.nulls() {
                Some(nulls) => self.validity.append_buffer(nulls),
                None => self.validity.append_n_non_nulls(piece.len()),
            }
            self.values.append(self.form, &piece)?;
            self.rows += piece.len();
            let is_full = self.rows >= PAGE_ROWS || self.page_bytes() >= PAGE_BYTES;
            if is_full || self.is_plain_text() && self.rows >= TEXT_PAGE_ROWS && self.page_bytes() >= TEXT_PAGE_BYTES {
                self.end_page(codec)?;
            }
        }
        Ok(())
    }

    fn is_plain_text(&self) -> bool {
        self.form == Form::Bytes && !self.with_dictionary
    }

    /// How many of the next values the page takes: one at least.
    fn room(&self, next: &ArrayRef) -> usize {
        let rows = (PAGE_ROWS - self.rows).min(next.len());
        let offsets = match next.data_type() {
            DataType::Utf8 => next.as_string::<i32>().value_offsets(),
            DataType::Binary => next.as_binary::<i32>().value_offsets(),
            _ => return rows,
        };
        let rows_up_to = |bytes: usize| {
            let left = bytes.saturating_sub(self.page_bytes());
            offsets[1..rows].partition_point(|end| ((end - offsets[0]) as usize) < left) + 1
        };
        let most = rows_up_to(PAGE_BYTES);
        if self.is_plain_text() {
            most.min(rows_up_to(TEXT_PAGE_BYTES).max(TEXT_PAGE_ROWS.saturating_sub(self.rows)))
        } else {
            most
        }
    }

    fn end_page(&mut self, codec: &mut Codec) -> Result<(), ParquetError> {
        let (rows, validity) = (std::mem::take(&mut self.rows), self.validity.finish());
        self.put_page(rows, validity.as_ref(), codec, Self::encode)?;
        self.values.clear();
        let too_large = |dictionary: &Dictionary| dictionary.bytes_plain(self.form) > DICTIONARY_BYTES;
        self.with_dictionary &= !self.dictionary.as_ref().is_some_and(too_large);
        Ok(())
    }

    /// Writes a page of so many rows, whose values `encode` appends.
    pub(super) fn put_page(
        &mut self,
        rows: usize,
        validity: Option<&NullBuffer>,
        codec: &mut Codec,
        encode: impl FnOnce(&mut Self, &mut Vec<u8>) -> (Encoding, Option<Bounds>),
    ) -> Result<(), ParquetError> {
        let nulls = validity.map_or(0, NullBuffer::null_count);
        let mut page = std::mem::take(&mut codec.page);
        page.clear();
        if self.descriptor.max_def_level() > 0 {
            page.extend_from_slice(&[0; 4]);
            match validity {
                Some(validity) if nulls > 0 => pack::bitmap(&validity.inner().sliced(), rows, &mut page),
                _ => pack::run(1, rows, 1, &mut page),
            }
            let length = page.len() as u32 - 4;
            page[..4].copy_from_slice(&length.to_le_bytes());
        }
        let (encoding, bounds) = encode(self, &mut page);
        let compressed = codec.compress(&page, self.hopeless_pages > 0)?;
        self.hopeless_pages = match self.hopeless_pages {
            0 if page.len() - page.len() / GAIN_MIN < compressed.len() => HOPELESS_PAGES,
            pages => pages.saturating_sub(1),
        };
        let data = Page::DataPage {
            buf: compressed,
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.pages).write_page(CompressedPage::new(data, page.len()))?;
        self.note(
            &PageFacts { rows, nulls, encoding, bounds, uncompressed_bytes: written.uncompressed_size },
            written.compressed_size,
        );
        codec.page = page;
        Ok(())
    }

    /// Appends a page of another column chunk as it is. It must not need another dictionary.
    pub(in crate::store) fn copy_page(&mut self, bytes: &[u8], page: &PageFacts, codec: &mut Codec) -> Result<(), ParquetError> {
        if self.rows > 0 {
            self.end_page(codec)?;
        }
        self.pages.write_all(bytes)?;
        self.note(page, bytes.len());
        Ok(())
    }

    fn note(&mut self, page: &PageFacts, compressed_bytes: usize) {
        match &page.bounds {
            Some(bounds) => {
                let (least, greatest) = bounds.bytes(self.form);
                self.index.append(false, least, greatest, page.nulls as i64);
                self.bounds = Some(match self.bounds.take() {
                    Some(so_far) => so_far.and(bounds, self.form),
                    None => bounds.clone(),
                });
            }
            None if page.nulls == page.rows => self.index.append(true, Vec::new(), Vec::new(), page.nulls as i64),
            None => self.index.to_invalid(), // nothing but NaN
        }
        self.uncompressed_bytes += page.uncompressed_bytes;
        self.offsets.push((self.pages.bytes_written() - compressed_bytes, compressed_bytes, page.rows));
        match self.encodings.last_mut() {
            Some(last) if last.encoding == page.encoding => last.count += 1,
            _ => {
                let (page_type, encoding) = (PageType::DATA_PAGE, page.encoding);
                self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 });
            }
        }
        self.rows_before += page.rows;
        self.nulls += page.nulls;
    }

    /// Appends the page's values to `page`.
    fn encode(&mut self, page: &mut Vec<u8>) -> (Encoding, Option<Bounds>) {
        let numbers =
            self.dictionary.as_mut().filter(|_| self.with_dictionary).map(|dictionary| dictionary.numbers_of(&self.values));
        match (numbers, &self.values) {
            (None, values) => (values.encoded(self.form, page), Bounds::of(values, self.form)),
            (Some(numbers), values @ Values::Numbers(_)) => (self.encode_numbers(&numbers, page), Bounds::of(values, self.form)),
            (Some(numbers), Values::Bytes { .. }) => (self.encode_numbers(&numbers, page), self.bounds_of(&numbers)),
        }
    }

    /// Appends values of the dictionary to `page`.
    pub(super) fn encode_numbers(&self, numbers: &[u32], page: &mut Vec<u8>) -> Encoding {
        let count = self.dictionary.as_ref().map_or(0, Dictionary::len);
        pack::positions(numbers, pack::width_of(count.saturating_sub(1) as u64), page);
        Encoding::RLE_DICTIONARY
    }

    /// The bounds of values of the dictionary.
    pub(super) fn bounds_of(&self, numbers: &[u32]) -> Option<Bounds> {
        self.dictionary.as_ref().and_then(|dictionary| Bounds::of_used(dictionary, numbers, self.form))
    }

    /// Encodes what is left.
    pub(in crate::store) fn close(mut self, codec: &mut Codec) -> Result<Chunk, ParquetError> {
        if self.rows > 0 {
            self.end_page(codec)?;
        }
        let mut encodings = self.encodings;
        let mut dictionary_page = TrackedWrite::new(Vec::new());
        let is_used = encodings.iter().any(|page| page.encoding == Encoding::RLE_DICTIONARY);
        if let Some(dictionary) = self.dictionary.filter(|_| is_used) {
            let mut plain = Vec::new();
            dictionary.values.one_by_one(self.form, &mut plain);
            let page = Page::DictionaryPage {
                buf: codec.compress(&plain, false)?,
                num_values: dictionary.len() as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let written = SerializedPageWriter::new(&mut dictionary_page).write_page(CompressedPage::new(page, plain.len()))?;
            self.uncompressed_bytes += written.uncompressed_size;
            encodings.insert(0, PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding: Encoding::PLAIN, count: 1 });
        }
        let start = dictionary_page.bytes_written();
        let bytes = [dictionary_page.into_inner()?, self.pages.into_inner()?].map(Bytes::from);
        let mut offsets = OffsetIndexBuilder::new();
        for (offset, size, rows) in self.offsets {
            offsets.append_offset_and_size((start + offset) as i64, size as i32);
            offsets.append_row_count(rows as i64);
        }
        self.index.set_boundary_order(BoundaryOrder::UNORDERED);
        let mut all: Vec<Encoding> = encodings.iter().map(|page| page.encoding).chain([Encoding::RLE]).collect();
        all.dedup();
        let metadata = ColumnChunkMetaData::builder(self.descriptor)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings(all)
            .set_page_encoding_stats(encodings)
            .set_total_compressed_size(bytes.iter().map(Bytes::len).sum::<usize>() as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_num_values(self.rows_before as i64)
            .set_data_page_offset(start as i64)
            .set_dictionary_page_offset((start > 0).then_some(0))
            .set_statistics(match self.bounds {
                Some(bounds) => bounds.statistics(self.form, self.nulls as u64),
                None => Bounds::unknown(self.form, self.nulls as u64),
            })
            .build()?;
        Ok(Chunk {
            bytes: bytes.into_iter().filter(|bytes| !bytes.is_empty()).collect(),
            metadata,
            column_index: if self.index.valid() { self.index.build()? } else { ColumnIndexMetaData::NONE },
            offset_index: offsets.build(),
        })
    }
}
