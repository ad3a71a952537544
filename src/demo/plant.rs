//! What happened in the plant and what is open now: the records from which the four products' rows are written.
//!
//! Records that still change are kept by number and carry `changed`; what only happens once goes to the [`Log`]. Instants are seconds in UTC,
//! days are counted from 1970-01-01, quantities are base units (pieces or grams).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};

use super::calendar::Seconds;

/// Days since 1970-01-01.
pub type DayNo = i32;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SalesLine {
    pub order: u32,
    pub line: u16,
    pub schedule: u16,
    pub customer: u16,
    pub item: u16,
    pub site: u8,
    pub quantity: i64,
    pub shipped: i64,
    pub entered: Seconds,
    pub requested: DayNo,
    pub first_promised: Option<DayNo>,
    pub promised: Option<DayNo>,
    pub open: bool,
    pub cancelled: bool,
    pub changed: Seconds,
}

/// One line of an order request in the CRM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub request: u32,
    pub line: u16,
    pub customer: u16,
    pub twin: bool,
    pub item: u16,
    pub quantity: i64,
    pub requested: DayNo,
    pub created: Seconds,
    pub won: Option<Seconds>,
    pub lost: bool,
    /// The ERP's order, once handed over.
    pub order: Option<u32>,
    /// The CRM's copy of the promise.
    pub promised: Option<DayNo>,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    Planned,
    Released,
    Started,
    Completed,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    Pending,
    Ready,
    Started,
    Completed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PieceKind {
    Setup,
    Run,
    Down,
}

/// What a work centre does without a break, within one shift.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Piece {
    pub kind: PieceKind,
    pub begin: Seconds,
    pub end: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkStep {
    pub center: u8,
    pub state: StepState,
    pub planned: (Seconds, Seconds),
    pub started: Option<Seconds>,
    pub ended: Option<Seconds>,
    pub good: i64,
    /// Pieces of work still to come, the first one running. Set when the step starts.
    pub pieces: Vec<Piece>,
    /// Seconds of work in `pieces` that make something.
    pub run_s: i64,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Need {
    pub item: u16,
    pub required: i64,
    pub issued: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkOrder {
    pub id: u32,
    pub item: u16,
    pub quantity: i64,
    pub good: i64,
    pub scrap: i64,
    pub created: Seconds,
    pub start: DayNo,
    pub due: DayNo,
    pub released: Option<Seconds>,
    pub started: Option<Seconds>,
    pub completed: Option<Seconds>,
    pub progress: Progress,
    pub steps: Vec<WorkStep>,
    pub needs: Vec<Need>,
    /// Whether a faulty lot went in.
    pub faulty: bool,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PurchaseLine {
    pub order: u32,
    pub line: u16,
    pub supplier: u16,
    pub item: u16,
    pub quantity: i64,
    pub received: i64,
    pub ordered: Seconds,
    pub requested: DayNo,
    pub first_confirmed: Option<DayNo>,
    pub confirmed: Option<DayNo>,
    /// Hundredths of a cent for one stock unit.
    pub price: i64,
    pub open: bool,
    /// The hub's proposal and the ERP's request that it came from.
    pub proposal: Option<String>,
    pub request: Option<i64>,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quality {
    Inspection,
    Free,
    Blocked,
    /// Blocked for good: nothing sets it free again.
    Rejected,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lot {
    pub id: u32,
    pub item: u16,
    pub supplier: Option<u16>,
    pub supplier_lot: Option<String>,
    pub made: Seconds,
    pub expires: Option<DayNo>,
    pub quality: Quality,
    pub faulty: bool,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Complaint {
    pub id: u32,
    pub customer: u16,
    pub order: u32,
    pub shipment: u32,
    pub item: u16,
    pub lot: u32,
    /// Whether the customer could read the lot's number.
    pub lot_known: bool,
    pub quantity: i64,
    pub defect: u8,
    pub severity: u8,
    pub received: Seconds,
    /// 0 open, 1 investigating, 2 justified, 3 closed.
    pub state: u8,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inspection {
    pub id: u32,
    pub receipt: Option<u32>,
    pub work_order: Option<u32>,
    pub item: u16,
    pub lot: u32,
    pub quantity: i64,
    pub sample: i64,
    pub rejected: i64,
    pub opened: Seconds,
    pub decided: Option<Seconds>,
    pub defect: Option<u8>,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub id: u32,
    pub supplier: bool,
    pub item: u16,
    pub lot: u32,
    pub defect: u8,
    pub opened: Seconds,
    pub closed: Option<Seconds>,
    pub changed: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opportunity {
    pub id: u32,
    pub customer: u16,
    pub item: u16,
    pub quantity: i64,
    pub per_cent: u8,
    pub close: DayNo,
    pub created: Seconds,
    /// 0 open, 1 won, 2 lost.
    pub state: u8,
    pub order: Option<u32>,
    pub changed: Seconds,
}

/// Stock of one lot in one place. Never negative, never kept at zero.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Quant {
    pub lot: u32,
    pub place: Place,
    pub quantity: i64,
    pub changed: Seconds,
}

/// A storage place: site and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub site: u8,
    pub bin: Bin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Bin {
    Rack1,
    Rack2,
    Rack3,
    Quarantine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveKind {
    Receipt,
    Transfer,
    Issue,
    Production,
    Shipment,
    Adjustment,
}

/// One movement; `from` and `to` are `None` for outside.
#[derive(Debug, Clone)]
pub struct Movement {
    pub id: u32,
    pub kind: MoveKind,
    pub item: u16,
    pub lot: u32,
    /// Positive, but negative for an adjustment downwards.
    pub quantity: i64,
    pub from: Option<Place>,
    pub to: Option<Place>,
    pub at: Seconds,
    pub document: u32,
}

#[derive(Debug, Clone)]
pub struct Receipt {
    pub id: u32,
    pub order: u32,
    pub line: u16,
    pub supplier: u16,
    pub item: u16,
    pub lot: u32,
    pub supplier_lot: String,
    pub quantity: i64,
    pub at: Seconds,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipment {
    pub id: u32,
    pub line: u16,
    pub order: u32,
    pub order_line: u16,
    pub customer: u16,
    pub item: u16,
    pub site: u8,
    pub lot: u32,
    pub quantity: i64,
    pub at: Seconds,
    pub delivered: Seconds,
}

#[derive(Debug, Clone)]
pub struct Count {
    pub id: u32,
    pub line: u16,
    pub item: u16,
    pub place: Place,
    pub lot: u32,
    pub expected: i64,
    pub counted: i64,
    pub at: Seconds,
}

#[derive(Debug, Clone)]
pub struct Confirmation {
    pub id: u32,
    pub order: u32,
    pub step: u8,
    pub center: u8,
    pub item: u16,
    pub good: i64,
    pub scrap: i64,
    pub begin: Seconds,
    pub end: Seconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    Setup,
    Down,
}

#[derive(Debug, Clone)]
pub struct StateEvent {
    pub id: u32,
    pub center: u8,
    pub state: MachineState,
    pub begin: Seconds,
    pub end: Seconds,
}

/// A lot that went into (or came out of) a work order.
#[derive(Debug, Clone)]
pub struct Link {
    pub id: u32,
    pub order: u32,
    pub output: bool,
    pub item: u16,
    pub lot: u32,
    pub quantity: i64,
    pub at: Seconds,
}

#[derive(Debug, Clone)]
pub struct Measurement {
    pub id: u32,
    pub characteristic: u16,
    /// In ten-thousandths of the characteristic's unit.
    pub value: i64,
    pub lot: u32,
    pub order: u32,
    pub center: u8,
    pub subgroup: u32,
    pub at: Seconds,
}

#[derive(Debug, Clone)]
pub struct OrderHead {
    pub order: u32,
    pub customer: u16,
    pub request: Option<u32>,
    pub at: Seconds,
}

#[derive(Debug, Clone)]
pub struct OrderChange {
    pub id: u32,
    pub request: u32,
    pub line: u16,
    pub order: u32,
    pub old: DayNo,
    pub new: DayNo,
    pub at: Seconds,
}

/// What a supplier said about an order line: a confirmation, or an announced delivery.
#[derive(Debug, Clone)]
pub struct Answer {
    pub id: u32,
    pub order: u32,
    pub line: u16,
    pub announced: bool,
    pub item: u16,
    pub quantity: i64,
    pub day: DayNo,
    pub at: Seconds,
}

/// What happened once and never changes.
#[derive(Debug, Default)]
pub struct Log {
    pub movements: Vec<Movement>,
    pub receipts: Vec<Receipt>,
    pub counts: Vec<Count>,
    pub confirmations: Vec<Confirmation>,
    pub states: Vec<StateEvent>,
    pub links: Vec<Link>,
    pub measurements: Vec<Measurement>,
    pub heads: Vec<OrderHead>,
    pub order_changes: Vec<OrderChange>,
    pub answers: Vec<Answer>,
}

/// The last number given to each kind of record.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    pub request: u32,
    pub order: u32,
    pub purchase: u32,
    pub work_order: u32,
    pub lot: u32,
    pub movement: u32,
    pub receipt: u32,
    pub shipment: u32,
    pub count: u32,
    pub confirmation: u32,
    pub state: u32,
    pub link: u32,
    pub measurement: u32,
    pub inspection: u32,
    pub complaint: u32,
    pub case: u32,
    pub opportunity: u32,
    pub order_change: u32,
    pub answer: u32,
    pub event: u64,
}

/// Gives the next number.
pub fn next(number: &mut u32) -> u32 {
    *number += 1;
    *number
}

/// Something that will happen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    /// A piece of work on a step ends.
    PieceEnds {
        order: u32,
        step: u8,
    },
    /// The inspection of a lot is decided.
    Inspect {
        inspection: u32,
        fail: bool,
    },
    Delivery {
        order: u32,
        line: u16,
        quantity: i64,
    },
    SupplierConfirms {
        order: u32,
        line: u16,
        day: DayNo,
    },
    SupplierMoves {
        order: u32,
        line: u16,
        day: DayNo,
    },
    Plan,
    Order,
    HandOver {
        request: u32,
    },
    Promise {
        order: u32,
        line: u16,
        schedule: u16,
    },
    Dispatch {
        center: u8,
    },
    Ship {
        site: u8,
    },
    Rebalance,
    Count,
    Complain {
        customer: u16,
        order: u32,
        shipment: u32,
        item: u16,
        lot: u32,
        quantity: i64,
    },
    ComplaintMoves {
        complaint: u32,
    },
    Opportunity,
    OpportunityEnds {
        opportunity: u32,
    },
    CloseCase {
        case: u32,
    },
}

/// Everything that is open, and what is to happen next. This is what is kept between two days.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Plant {
    pub now: Seconds,
    pub numbers: Numbers,
    pub queue: BinaryHeap<Reverse<(Seconds, u64, Event)>>,
    pub sales: BTreeMap<u32, Vec<SalesLine>>,
    pub requests: BTreeMap<u32, Vec<Request>>,
    pub purchases: BTreeMap<u32, Vec<PurchaseLine>>,
    pub work_orders: BTreeMap<u32, WorkOrder>,
    pub lots: BTreeMap<u32, Lot>,
    pub inspections: BTreeMap<u32, Inspection>,
    pub complaints: BTreeMap<u32, Complaint>,
    pub cases: BTreeMap<u32, Case>,
    pub opportunities: BTreeMap<u32, Opportunity>,
    /// Deliveries to customers; a delivery is written again when it has arrived.
    pub shipments: Vec<Shipment>,
    /// Which request an order came from, by the number of the order.
    pub request_of: BTreeMap<u32, u32>,
    /// Stock of each item, by age of the lot.
    pub stock: Vec<Vec<Quant>>,
    /// The lot under which an item without lots is kept.
    pub bulk_lots: Vec<u32>,
    /// The order and step that each work centre is busy with.
    pub busy: Vec<Option<(u32, u8)>>,
    /// The set-up family that each work centre is in.
    pub families: Vec<usize>,
    /// Sales orders, purchase orders, work orders that are still open: what planning looks at.
    pub open_sales: BTreeSet<u32>,
    pub open_purchases: BTreeSet<u32>,
    pub open_work: BTreeSet<u32>,
    /// Stock records that are gone since they were last written.
    pub gone: BTreeSet<(Place, u32, u16)>,
    #[serde(skip)]
    pub log: Log,
}

impl Plant {
    /// Puts `event` on the calendar.
    pub fn at(&mut self, when: Seconds, event: Event) {
        self.numbers.event += 1;
        self.queue.push(Reverse((when, self.numbers.event, event)));
    }

    /// Forgets what is closed and written, so that the kept state does not grow.
    pub fn forget_closed(&mut self) {
        let open = &self.open_sales;
        self.sales.retain(|order, _| open.contains(order));
        self.requests
            .retain(|_, lines| lines.iter().any(|line| !line.lost && line.order.is_none_or(|order| open.contains(&order))));
        self.request_of.retain(|order, _| open.contains(order));
        let open = &self.open_purchases;
        self.purchases.retain(|order, _| open.contains(order));
        let open = &self.open_work;
        self.work_orders.retain(|order, _| open.contains(order));
        let stocked: BTreeSet<u32> =
            self.stock.iter().flatten().map(|quant| quant.lot).chain(self.bulk_lots.iter().copied()).collect();
        let inspected: BTreeSet<u32> = self.inspections.values().filter(|i| i.decided.is_none()).map(|i| i.lot).collect();
        self.lots.retain(|lot, _| stocked.contains(lot) || inspected.contains(lot));
        self.inspections.retain(|_, inspection| inspection.decided.is_none());
        self.complaints.retain(|_, complaint| complaint.state < 3);
        self.cases.retain(|_, case| case.closed.is_none());
        self.opportunities.retain(|_, opportunity| opportunity.state == 0);
        let now = self.now;
        self.shipments.retain(|shipment| shipment.delivered > now);
        self.gone.clear();
        self.log = Log::default();
    }
}
