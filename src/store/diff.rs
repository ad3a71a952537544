//! What becomes of rows: which of a reading are new or changed, which of a table are replaced or gone.

use roaring::RoaringBitmap;

use super::StoreError;
use super::join::{Entry, Join};

/// Rows that replace one in its place, kept one by one up to this many; more are taken out and written elsewhere. 16 bytes each.
const PAIRS_MAX: usize = 1 << 20;

/// How entries of one key are judged.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// Rows whose key is stored already are left out, whatever they say.
    pub(super) append: bool,
    /// Of several rows of one key the last one counts; otherwise they must be equal.
    pub(super) last_wins: bool,
}

/// A row by its unit (part of a reading or file) and its position in it.
pub(super) type Spot = (u32, u32);

/// A stored row and the row that replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    /// File and position.
    pub(super) stored: Spot,
    /// Part and position.
    pub(super) read: Spot,
}

/// The differences between a reading and a table. Memory: at most a bit for each row, and [`PAIRS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Diff {
    rules: Rules,
    /// Rows of the reading without a stored row, by part.
    pub(super) inserted: Rows,
    /// Rows of the reading that replace a stored one, by part.
    pub(super) updated: Rows,
    /// Stored rows that are replaced, by file.
    pub(super) replaced: Rows,
    /// Stored rows that are gone, by file.
    pub(super) gone: Rows,
    /// Who replaces whom; `None` if they are too many.
    pub(super) pairs: Option<Vec<Pair>>,
    /// A row whose key another row of the reading has, too.
    pub(super) clash: Option<Spot>,
    /// Wrapping sum of the hashes that the table gains, less those that it loses.
    pub(super) content: u128,
}

/// Positions by unit.
#[derive(Debug, Default, Clone)]
pub(super) struct Rows(Vec<RoaringBitmap>);

impl Rows {
    fn insert(&mut self, (unit, position): Spot) {
        if self.0.len() <= unit as usize {
            self.0.resize_with(unit as usize + 1, RoaringBitmap::new);
        }
        self.0[unit as usize].insert(position);
    }

    /// All rows of units with so many rows.
    pub(super) fn of_units(counts: impl Iterator<Item = u32>) -> Self {
        Self(counts.map(first).collect())
    }

    /// How many rows.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(RoaringBitmap::len).sum()
    }

    pub(super) fn of(&self, unit: u32) -> Option<&RoaringBitmap> {
        self.0.get(unit as usize).filter(|rows| !rows.is_empty())
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let units = self.0.len().max(other.0.len()) as u32;
        let none = RoaringBitmap::new();
        Self((0..units).map(|unit| self.of(unit).unwrap_or(&none) | other.of(unit).unwrap_or(&none)).collect())
    }

    /// How many rows come before `spot`; `None` if it is none of them.
    pub(super) fn rank(&self, spot: Spot) -> Option<u64> {
        let unit = self.of(spot.0).filter(|rows| rows.contains(spot.1))?;
        let before: u64 = self.0[..spot.0 as usize].iter().map(RoaringBitmap::len).sum();
        Some(before + unit.rank(spot.1) - 1)
    }

    /// Ascending.
    pub(super) fn spots(&self) -> impl Iterator<Item = Spot> + '_ {
        self.0.iter().zip(0..).flat_map(|(rows, unit)| rows.iter().map(move |position| (unit, position)))
    }
}

impl FromIterator<Spot> for Rows {
    fn from_iter<I: IntoIterator<Item = Spot>>(spots: I) -> Self {
        let mut rows = Self::default();
        spots.into_iter().for_each(|spot| rows.insert(spot));
        rows
    }
}

/// The first `count` positions.
pub(super) fn first(count: u32) -> RoaringBitmap {
    let mut rows = RoaringBitmap::new();
    rows.insert_range(0..count);
    rows.optimize();
    rows
}

fn spot(entry: &Entry) -> Spot {
    (entry.unit(), entry.position)
}

impl Diff {
    fn new(rules: Rules) -> Self {
        Self { rules, pairs: Some(Vec::new()), ..Self::default() }
    }

    /// All of a reading is new. `content`: sum of its hashes.
    pub(super) fn all(inserted: Rows, content: u128) -> Self {
        Self { inserted, content, ..Self::new(Rules::default()) }
    }

    /// What a join finds.
    pub(super) async fn of(table: &str, join: Join, rules: Rules) -> Result<Self, StoreError> {
        let parts = join.fold(table, || Self::new(rules), Self::add).await?;
        Ok(parts.into_iter().reduce(Self::and).unwrap_or_else(|| Self::new(rules)))
    }

    pub(super) fn and(self, other: Self) -> Self {
        let pairs = self.pairs.zip(other.pairs).map(|(mut pairs, others)| {
            pairs.extend(others);
            pairs
        });
        Self {
            rules: self.rules,
            inserted: self.inserted.union(&other.inserted),
            updated: self.updated.union(&other.updated),
            replaced: self.replaced.union(&other.replaced),
            gone: self.gone.union(&other.gone),
            pairs: pairs.filter(|pairs| pairs.len() <= PAIRS_MAX),
            clash: self.clash.into_iter().chain(other.clash).min(),
            content: self.content.wrapping_add(other.content),
        }
    }

    /// Takes the entries of one key, those of the reading first, in its order.
    fn add(&mut self, entries: &[Entry]) {
        let (read, stored) = entries.split_at(entries.partition_point(|entry| !entry.is_stored()));
        let (Some(first), Some(last)) = (read.first(), read.last()) else {
            for gone in stored.iter().filter(|entry| entry.is_expected()) {
                self.remove(gone);
            }
            return;
        };
        if !self.rules.last_wins
            && let Some(other) = read.iter().find(|entry| entry.row() != first.row())
        {
            self.clash = Some(self.clash.map_or(spot(other), |clash| clash.min(spot(other))));
        }
        let row = if self.rules.last_wins { last } else { first };
        let Some((old, others)) = stored.split_first() else {
            self.inserted.insert(spot(row));
            self.content = self.content.wrapping_add(row.row());
            return;
        };
        if self.rules.append {
            return;
        }
        if old.row() != row.row() {
            self.updated.insert(spot(row));
            self.replaced.insert(spot(old));
            self.content = self.content.wrapping_add(row.row()).wrapping_sub(old.row());
            match &mut self.pairs {
                Some(pairs) if pairs.len() < PAIRS_MAX => pairs.push(Pair { stored: spot(old), read: spot(row) }),
                pairs => *pairs = None,
            }
        }
        // Another program may have doubled a row; one with this key is enough.
        for other in others {
            self.remove(other);
        }
    }

    fn remove(&mut self, stored: &Entry) {
        self.gone.insert(spot(stored));
        self.content = self.content.wrapping_sub(stored.row());
    }
}
