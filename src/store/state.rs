//! The states of a change in the ledger, and which may follow which.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use super::control::unknown;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeState {
    Planned,
    Approved,
    Sent,
    Acknowledged,
    Confirmed,
    Conflicted,
    Failed,
    Overridden,
    Rejected,
    Superseded,
    Expired,
    Undone,
}

impl ChangeState {
    /// Sent or acknowledged, not yet seen in a pull: counts as being in the target.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Sent | Self::Acknowledged)
    }

    /// Nothing more will happen to it, undo apart.
    pub fn closed(self) -> bool {
        !matches!(self, Self::Planned | Self::Approved) && !self.in_flight()
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Approved => "approved",
            Self::Sent => "sent",
            Self::Acknowledged => "acknowledged",
            Self::Confirmed => "confirmed",
            Self::Conflicted => "conflicted",
            Self::Failed => "failed",
            Self::Overridden => "overridden",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Undone => "undone",
        }
    }

    const ALL: [Self; 12] = [
        Self::Planned,
        Self::Approved,
        Self::Sent,
        Self::Acknowledged,
        Self::Confirmed,
        Self::Conflicted,
        Self::Failed,
        Self::Overridden,
        Self::Rejected,
        Self::Superseded,
        Self::Expired,
        Self::Undone,
    ];

    /// Whether a change may go from `self` to `to`. `sent` may fall back to `approved`: the target was looked at and never got it.
    pub fn may_become(self, to: Self) -> bool {
        use ChangeState as S;
        match self {
            S::Planned => matches!(to, S::Approved | S::Rejected | S::Superseded | S::Expired),
            S::Approved => matches!(to, S::Planned | S::Sent | S::Rejected | S::Superseded | S::Expired),
            S::Sent => matches!(to, S::Approved | S::Acknowledged | S::Confirmed | S::Conflicted | S::Failed | S::Overridden),
            S::Acknowledged => matches!(to, S::Confirmed | S::Conflicted | S::Failed | S::Overridden | S::Undone),
            S::Confirmed => matches!(to, S::Overridden | S::Undone),
            S::Overridden => matches!(to, S::Confirmed | S::Undone),
            S::Conflicted | S::Failed | S::Rejected | S::Superseded | S::Expired | S::Undone => false,
        }
    }
}

impl FromSql for ChangeState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|state| state.text() == text).ok_or_else(|| unknown("state", text))
    }
}

impl ToSql for ChangeState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.text().into())
    }
}
