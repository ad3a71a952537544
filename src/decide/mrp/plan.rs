//! Plans item after item, components after their parents.

use std::collections::HashMap;

use crate::decide::DecideError;
use crate::decide::quantity::{Day, QUANTITY_MAX, times};

use super::identity::{Ids, Proposal, settle};
use super::levels::levels;
use super::net::{Planned, Requirement, net};
use super::read::{Fault, NO_ITEM_SITE, Node, Problem};

/// One item at one site, planned. `orders[n]` is what became of `planned[n]`.
pub struct NodePlan<'t> {
    pub node: Node<'t>,
    pub planned: Vec<Planned<'t>>,
    pub orders: Vec<Proposal<'t>>,
}

/// The result, by item and site.
pub struct Plan<'t> {
    pub function: &'static str,
    pub today: Day,
    pub items: Vec<&'t str>,
    pub sites: Vec<&'t str>,
    pub nodes: Vec<NodePlan<'t>>,
    pub faults: Vec<Fault<'t>>,
}

/// The day on which an order of this lead time starts: never before today.
pub fn start(today: Day, due: Day, lead: Day) -> Day {
    due.saturating_sub(lead).max(today)
}

/// Plans everything. A bill of materials in a circle and quantities beyond decimal(18,6) are errors.
pub fn plan(mut problem: Problem<'_>) -> Result<Plan<'_>, DecideError> {
    only_made(&mut problem);
    let level = levels(&problem.bom).map_err(|items| circle(&problem, &items))?;
    let Problem { function, today, items, sites, mut nodes, bom, faults } = problem;
    nodes.sort_unstable_by_key(|node| (level[node.item as usize], node.item, node.site));
    let mut at: HashMap<(u32, u32), usize> = nodes.iter().enumerate().map(|(n, node)| ((node.item, node.site), n)).collect();
    let mut ids = Ids::new(nodes.iter().flat_map(|node| &node.open).map(|proposal| proposal.id.clone()));
    let mut plans: Vec<Option<NodePlan<'_>>> = nodes.into_iter().map(unplanned).map(Some).collect();
    let mut n = 0;
    while n < plans.len() {
        let Some(mut plan) = plans[n].take() else { break };
        let (item, site) = (items[plan.node.item as usize], sites[plan.node.site as usize]);
        plan_node(&mut plan, today, |due| ids.proposal(item, site, due));
        for (place, requirement) in exploded(&plan, today, &bom) {
            if requirement.quantity > QUANTITY_MAX {
                let what = format!("the requirement of {} for {item}", items[place.0 as usize]);
                return Err(DecideError::Overflow { function, what });
            }
            let to = *at.entry(place).or_insert_with(|| {
                plans.push(Some(unplanned(missing(place))));
                plans.len() - 1
            });
            if let Some(component) = plans[to].as_mut() {
                component.node.requirements.push(requirement);
            }
        }
        plans[n] = Some(plan);
        n += 1;
    }
    let mut nodes: Vec<NodePlan<'_>> = plans.into_iter().flatten().collect();
    nodes.sort_unstable_by_key(|plan| (plan.node.item, plan.node.site));
    Ok(Plan { function, today, items, sites, nodes, faults })
}

/// Bills of items that are bought everywhere are of no interest.
fn only_made(problem: &mut Problem<'_>) {
    let mut made = vec![false; problem.bom.len()];
    for node in &problem.nodes {
        made[node.item as usize] |= node.policy.as_ref().is_ok_and(|policy| policy.make);
    }
    problem.bom.iter_mut().zip(made).filter(|(_, made)| !made).for_each(|(lines, _)| lines.clear());
}

fn circle(problem: &Problem<'_>, items: &[u32]) -> DecideError {
    let round = items.iter().chain(items.first());
    DecideError::BomCycle {
        function: problem.function,
        items: round.map(|item| problem.items[*item as usize].to_owned()).collect(),
    }
}

fn unplanned(node: Node<'_>) -> NodePlan<'_> {
    NodePlan { node, planned: Vec::new(), orders: Vec::new() }
}

fn missing<'t>((item, site): (u32, u32)) -> Node<'t> {
    let policy = Err(NO_ITEM_SITE.to_owned());
    Node { item, site, policy, requirements: Vec::new(), supply: Vec::new(), open: Vec::new() }
}

fn plan_node<'t>(plan: &mut NodePlan<'t>, today: Day, create: impl FnMut(Day) -> std::borrow::Cow<'t, str>) {
    plan.node.requirements.sort_unstable();
    let Ok(policy) = &plan.node.policy else { return };
    plan.planned = net(today, policy, &plan.node.requirements, &plan.node.supply);
    plan.orders = settle(today, policy, &plan.planned, &plan.node.open, create);
}

/// What the orders require of their components: where, when and how much.
fn exploded<'t>(plan: &NodePlan<'t>, today: Day, bom: &[Vec<(u32, i128)>]) -> Vec<((u32, u32), Requirement<'t>)> {
    let Ok(policy) = &plan.node.policy else { return Vec::new() };
    let components = if policy.make { bom[plan.node.item as usize].as_slice() } else { &[] };
    let mut all = Vec::with_capacity(components.len() * plan.orders.len());
    for (component, per) in components {
        for (order, planned) in plan.orders.iter().zip(&plan.planned) {
            let day = start(today, order.due, policy.lead);
            let peg = planned.cause.and_then(|cause| cause.peg);
            let quantity = times(order.quantity, *per);
            all.push(((*component, plan.node.site), Requirement { day, peg, parent: Some(plan.node.item), quantity }));
        }
    }
    all
}
