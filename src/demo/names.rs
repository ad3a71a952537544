//! Invented names: nothing here is a real firm.

use super::dice::Dice;

pub const CITIES: &[(&str, &str)] = &[
    ("Ulm", "DE"),
    ("Kassel", "DE"),
    ("Bremen", "DE"),
    ("Jena", "DE"),
    ("Passau", "DE"),
    ("Linz", "AT"),
    ("Graz", "AT"),
    ("Lyon", "FR"),
    ("Nantes", "FR"),
    ("Torino", "IT"),
    ("Brescia", "IT"),
    ("Brno", "CZ"),
    ("Poznań", "PL"),
    ("Eindhoven", "NL"),
    ("Gent", "BE"),
    ("Malmö", "SE"),
    ("Zürich", "CH"),
    ("Bilbao", "ES"),
];

const FIRST: &[&str] = &[
    "Ahorn", "Birken", "Falken", "Granit", "Hafen", "Isar", "Kobalt", "Linden", "Mistral", "Nordwind", "Opal", "Pirol", "Quarz",
    "Rhön", "Saphir", "Tanne", "Ulmen", "Vega", "Weser", "Zander", "Alpha", "Borea", "Corvus", "Delphin", "Enzian",
];
const TRADE: &[&str] =
    &["Hydraulik", "Antriebe", "Anlagenbau", "Fördertechnik", "Pumpen", "Klimatechnik", "Apparatebau", "Wassertechnik"];
const GOODS: &[&str] =
    &["Stahl", "Kunststoff", "Elektronik", "Dichtungen", "Guss", "Schrauben", "Lager", "Chemie", "Papier", "Kabel"];
const FORM: &[&str] = &["GmbH", "AG", "KG", "SE", "e.K."];
const STREETS: &[&str] = &["Hauptstraße", "Werkstraße", "Am Hafen", "Industrieweg", "Bahnhofstraße", "Ringstraße"];
pub const OWNERS: &[&str] = &["a.berg", "c.dorn", "e.falk", "h.iversen", "j.kern"];
pub const PLANNERS: &[&str] = &["P01", "P02", "P03", "P04"];

/// Number `index` of all customers; no two are alike.
pub fn customer(index: usize) -> String {
    let name = format!("{} {}", FIRST[index % FIRST.len()], TRADE[index / FIRST.len() % TRADE.len()]);
    numbered(name, index, FIRST.len() * TRADE.len())
}

/// Number `index` of all suppliers; no two are alike.
pub fn supplier(index: usize) -> String {
    let name = format!("{}-{}", FIRST[(index * 7 + 3) % FIRST.len()], GOODS[index / FIRST.len() % GOODS.len()]);
    numbered(name, index, FIRST.len() * GOODS.len())
}

fn numbered(name: String, index: usize, distinct: usize) -> String {
    let form = FORM[index % FORM.len()];
    match index / distinct {
        0 => format!("{name} {form}"),
        round => format!("{name} {} {form}", round + 1),
    }
}

/// The same name as somebody else would type it.
pub fn respelled(name: &str) -> String {
    name.replace('ö', "oe").replace('ü', "ue").replace("GmbH", "Gesellschaft mbH").to_uppercase()
}

pub fn street(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(STREETS), dice.between(1, 120))
}

/// A tax id of the right shape; its digits are the partner's number.
pub fn tax_id(country: &str, number: u32) -> String {
    format!("{country}{:09}", u64::from(number) * 739 % 1_000_000_000)
}

/// A GTIN-13 with a valid check digit, in the range for internal use.
pub fn gtin(number: u32) -> String {
    let body = format!("20{number:010}");
    let sum: u32 =
        body.bytes().enumerate().map(|(place, digit)| u32::from(digit - b'0') * if place % 2 == 0 { 1 } else { 3 }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

pub const FINISHED: &[&str] =
    &["Circulation pump", "Dosing pump", "Control valve", "Heat exchanger", "Filter unit", "Compressor", "Fan", "Actuator"];
pub const SEMI: &[&str] = &["Housing", "Rotor", "Impeller", "Cover", "Shaft assembly", "Valve body", "Bracket", "Manifold"];
pub const BASE_PIECE: &[&str] = &["Blank", "Pressed part", "Turned part", "Moulding"];
pub const BASE_BULK: &[&str] = &["Compound", "Coating", "Sealant"];
pub const RAW_BULK: &[&str] = &["Granulate", "Steel powder", "Resin", "Pigment", "Hardener", "Filler"];
pub const RAW_PIECE: &[&str] = &["Bearing", "Seal ring", "Motor", "Sensor", "Connector", "Spring", "Screw set", "Circuit board"];
pub const PACKAGING: &[&str] = &["Carton", "Inlay", "Label set"];
pub const DEFECTS: &[&str] = &["D10", "D20", "D30", "D40"];
