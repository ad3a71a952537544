//! Gross-to-net: from the requirements and the supply of one item at one site to its planned orders.

use crate::decide::quantity::{Day, Micro, round_up};

/// How an order's quantity follows from the net requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lots {
    /// The net requirement, at least `min`, rounded up to a multiple where there is one (lot-for-lot with modifiers).
    Free { min: Micro, multiple: Option<Micro> },
    /// Fixed order quantity: as many whole lots as are needed.
    Fixed(Micro),
}

impl Lots {
    pub fn size(self, net: Micro) -> Micro {
        match self {
            Self::Free { min, multiple: None } => net.max(min),
            Self::Free { min, multiple: Some(lot) } => round_up(net.max(min), lot),
            Self::Fixed(lot) => round_up(net, lot),
        }
    }

    /// The step in which quantities change, if there is one.
    pub fn step(self) -> Option<Micro> {
        match self {
            Self::Free { multiple, .. } => multiple,
            Self::Fixed(lot) => Some(lot),
        }
    }
}

/// How one item is planned at one site.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub make: bool,
    pub lead: Day,
    pub lots: Lots,
    pub safety: Micro,
    /// Days from today in which nothing new is planned.
    pub zone: Day,
}

/// A gross requirement. The derived order (day, peg, parent, quantity) is the order in which supply is pegged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement<'t> {
    pub day: Day,
    /// The independent demand behind it; none for a parent's safety stock.
    pub peg: Option<&'t str>,
    /// The parent item that needs it as a component.
    pub parent: Option<u32>,
    pub quantity: Micro,
}

/// A planned order before it takes over an open proposal.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'t> {
    pub due: Day,
    pub needed: Day,
    pub quantity: Micro,
    /// The net requirement that the quantity covers.
    pub net: Micro,
    /// The requirement that made it necessary; none: the safety stock alone.
    pub cause: Option<Requirement<'t>>,
    /// Supply that is there today, and that arrives until `due`.
    pub stock: Micro,
    pub on_order: Micro,
    /// Planned orders before this one.
    pub before: Micro,
    /// All requirements until `due`.
    pub required: Micro,
}

/// Plans one item at one site. Both lists are sorted by day; what is overdue keeps its day.
///
/// One order at most for each day, so the due dates of the result ascend strictly.
pub fn net<'t>(today: Day, policy: &Policy, requirements: &[Requirement<'t>], supply: &[(Day, Micro)]) -> Vec<Planned<'t>> {
    let stock = supply.iter().take_while(|(day, _)| *day <= today).map(|(_, quantity)| quantity).sum();
    let (mut requirements, mut supply) = (requirements.iter().peekable(), supply.iter().peekable());
    let (mut received, mut required, mut before) = (0, 0, 0);
    let mut orders = Vec::new();
    let earliest = today.saturating_add(policy.lead);
    let mut bucket = Some(earliest);
    while let Some(due) = bucket {
        while let Some((_, quantity)) = supply.next_if(|(day, _)| *day <= due) {
            received += quantity;
        }
        let mut cause = None;
        while let Some(requirement) = requirements.next_if(|requirement| requirement.day <= due) {
            required += requirement.quantity;
            if received + before - required < policy.safety {
                cause.get_or_insert(*requirement);
            }
        }
        let net = policy.safety - (received + before - required);
        if net > 0 {
            let needed = cause.map_or(if due == earliest { today } else { due }, |cause| cause.day);
            let quantity = policy.lots.size(net);
            orders.push(Planned { due, needed, quantity, net, cause, stock, on_order: received - stock, before, required });
            before += quantity;
        }
        bucket = [requirements.peek().map(|next| next.day), supply.peek().map(|next| next.0)].into_iter().flatten().min();
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lot_rules() {
        let free = |min, multiple| Lots::Free { min, multiple };
        for (lots, net, size) in [
            (free(0, None), 35, 35),
            (free(50, None), 35, 50),
            (free(50, Some(20)), 35, 60),
            (free(0, Some(20)), 41, 60),
            (Lots::Fixed(40), 35, 40),
            (Lots::Fixed(40), 81, 120),
        ] {
            assert_eq!(lots.size(net), size, "{lots:?} for {net}");
        }
    }
}
