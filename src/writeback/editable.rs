//! The small condition language of `editable`: columns, literals, comparisons, `in`, `between`, `is null`, `and`, `or`, `not`.
//!
//! It is evaluated on rows in canonical JSON, with SQL's three-valued logic. Numbers compare as numbers (decimals are strings in canonical JSON),
//! everything else as text, which orders dates and instants rightly.

use std::cmp::Ordering;

use serde_json::Value;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value as Literal};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::base::Row;

/// A condition over the columns of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsNull(Operand),
    Compare(Operand, Comparison, Operand),
    In(Operand, Vec<Operand>),
    /// A boolean column or literal.
    Bare(Operand),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Column(String),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Predicate {
    /// Reads a condition; the error says what is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(|error| error.to_string())?;
        let expression = parser.parse_expr().map_err(|error| error.to_string())?;
        match parser.peek_token().token {
            Token::EOF => node(&expression).map(Self),
            rest => Err(format!("\"{rest}\" is not expected after the condition")),
        }
    }

    /// Whether the condition is true for `row`; unknown (a NULL somewhere that matters) is not true.
    pub fn holds(&self, row: &Row) -> bool {
        truth(&self.0, row) == Some(true)
    }

    /// The columns that the condition reads.
    pub fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        columns(&self.0, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn node(expression: &Expr) -> Result<Node, String> {
    Ok(match expression {
        Expr::Nested(inner) => node(inner)?,
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => Node::And(node(left)?.into(), node(right)?.into()),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => Node::Or(node(left)?.into(), node(right)?.into()),
        Expr::BinaryOp { left, op, right } => Node::Compare(operand(left)?, comparison(op)?, operand(right)?),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Node::Not(node(expr)?.into()),
        Expr::IsNull(inner) => Node::IsNull(operand(inner)?),
        Expr::IsNotNull(inner) => Node::Not(Node::IsNull(operand(inner)?).into()),
        Expr::InList { expr, list, negated } => {
            let list = list.iter().map(operand).collect::<Result<_, _>>()?;
            negate(Node::In(operand(expr)?, list), *negated)
        }
        Expr::Between { expr, negated, low, high } => {
            let low = Node::Compare(operand(expr)?, Comparison::GreaterOrEqual, operand(low)?);
            let high = Node::Compare(operand(expr)?, Comparison::LessOrEqual, operand(high)?);
            negate(Node::And(low.into(), high.into()), *negated)
        }
        other => Node::Bare(operand(other)?),
    })
}

fn negate(node: Node, negated: bool) -> Node {
    if negated { Node::Not(node.into()) } else { node }
}

fn comparison(op: &BinaryOperator) -> Result<Comparison, String> {
    Ok(match op {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        other => return Err(format!("operator \"{other}\" is not understood here")),
    })
}

fn operand(expression: &Expr) -> Result<Operand, String> {
    match expression {
        Expr::Nested(inner) => operand(inner),
        Expr::Identifier(name) => Ok(Operand::Column(name.value.clone())),
        Expr::Value(value) => literal(&value.value).map(Operand::Literal),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match operand(expr)? {
            Operand::Literal(Value::Number(number)) => {
                literal(&Literal::Number(format!("-{number}"), false)).map(Operand::Literal)
            }
            _ => Err(format!("\"{expression}\" is not understood here")),
        },
        other => Err(format!("\"{other}\" is neither a column nor a literal")),
    }
}

fn literal(value: &Literal) -> Result<Value, String> {
    match value {
        Literal::SingleQuotedString(text) => Ok(Value::String(text.clone())),
        Literal::Boolean(value) => Ok(Value::Bool(*value)),
        Literal::Null => Ok(Value::Null),
        Literal::Number(text, _) => {
            serde_json::from_str::<serde_json::Number>(text).map(Value::Number).map_err(|_| format!("\"{text}\" is not a number"))
        }
        other => Err(format!("literal {other} is not understood here")),
    }
}

fn truth(node: &Node, row: &Row) -> Option<bool> {
    match node {
        Node::And(left, right) => match (truth(left, row), truth(right, row)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Node::Or(left, right) => match (truth(left, row), truth(right, row)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Node::Not(inner) => truth(inner, row).map(|value| !value),
        Node::IsNull(operand) => Some(value(operand, row).is_null()),
        Node::Compare(left, comparison, right) => compare(value(left, row), *comparison, value(right, row)),
        Node::In(operand, list) => {
            let found: Vec<_> =
                list.iter().map(|item| compare(value(operand, row), Comparison::Equal, value(item, row))).collect();
            if found.contains(&Some(true)) {
                Some(true)
            } else if found.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        Node::Bare(operand) => match value(operand, row) {
            Value::Bool(value) => Some(*value),
            Value::Number(number) => number.as_f64().map(|number| number != 0.0),
            _ => None,
        },
    }
}

fn value<'a>(operand: &'a Operand, row: &'a Row) -> &'a Value {
    match operand {
        Operand::Column(name) => row.get(name).unwrap_or(&Value::Null),
        Operand::Literal(value) => value,
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return None,
        (Value::Number(_), _) | (_, Value::Number(_)) => number(left)?.partial_cmp(&number(right)?)?,
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    }
}

fn columns<'a>(node: &'a Node, found: &mut Vec<&'a str>) {
    let mut operand = |operand: &'a Operand| {
        if let Operand::Column(name) = operand {
            found.push(name);
        }
    };
    match node {
        Node::And(left, right) | Node::Or(left, right) => {
            columns(left, found);
            columns(right, found);
        }
        Node::Not(inner) => columns(inner, found),
        Node::IsNull(inner) | Node::Bare(inner) => operand(inner),
        Node::Compare(left, _, right) => {
            operand(left);
            operand(right);
        }
        Node::In(inner, list) => {
            operand(inner);
            list.iter().for_each(operand);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn check(text: &str, of: Value, expected: bool) {
        let predicate = Predicate::parse(text).unwrap();
        assert_eq!(predicate.holds(&row(of.clone())), expected, "{text} on {of}");
    }

    #[test]
    fn conditions_hold_as_in_sql() {
        check("status = 'DRAFT'", json!({"status": "DRAFT"}), true);
        check("status = 'DRAFT'", json!({"status": "OPEN"}), false);
        check("status = 'DRAFT'", json!({"status": null}), false);
        check("not status = 'DRAFT'", json!({"status": null}), false);
        check("status in ('A', 'B') and locked = 0", json!({"status": "B", "locked": 0}), true);
        check("status not in ('A', 'B')", json!({"status": "C"}), true);
        check("status not in ('A', null)", json!({"status": "C"}), false);
        check("started is null or qty > 2.5", json!({"started": "2026-01-01", "qty": "3"}), true);
        check("qty between -1 and 2", json!({"qty": "2"}), true);
        check("\"STATUS\" <> 10", json!({"STATUS": 20}), true);
        check("not locked", json!({"locked": false}), true);
        check("day >= '2026-02-01'", json!({"day": "2026-01-31"}), false);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in ["status =", "upper(status) = 'A'", "a = 1; drop table x", "status like 'A%'", "exists (select 1)"] {
            assert!(Predicate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_are_listed_once() {
        let predicate = Predicate::parse("a = 1 or (b in (c, 2) and a is null)").unwrap();
        assert_eq!(predicate.columns(), ["a", "b", "c"]);
    }
}
