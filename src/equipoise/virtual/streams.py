"""The purposes for which chance is drawn: one number each, the first word of the Philox counter.

The other words are index (visit, cycle, offer, episode ... counted from 0), person (candidate number; 0
where a draw belongs to the whole trial) and trial (replicate). Each call of `philox.uniforms` gives two
uniforms; the comment says what the two are for. The arm is not part of the counter: a person meets the same
chances in both arms, which gives both potential outcomes. Numbers are never reused; a new purpose takes a
new number.
"""

from __future__ import annotations

from typing import Final

# --- who the person is (baseline) ---
TRAITS_NATIVE: Final = 1  # normals: eta (native recovery), z (response to the drug)
TRAITS_HABIT: Final = 2  # normals: u (acceptance of cycles), w (half-life of the long-lived cells)
CD4_TRUE: Final = 3  # normals: true count, nadir
DEMOGRAPHY: Final = 4  # normal of age; uniform of sex
HISTORY: Final = 5  # uniforms: prior AIDS (any); which condition
VIROLOGY_AT_ENTRY: Final = 6  # uniform: suppressed at entry; normal: level when viraemic
SCREENING_COUNT: Final = 7  # uniforms: noise of the CD4 count, of the HIV RNA; index 0 first sample, 1 second
ITEM: Final = 8  # index = CRC-32 of the item's name; uniforms: presence or value; refinement (months since)
COUNTRY: Final = 9  # uniforms: country; site within country
ARRIVAL: Final = 10  # uniforms: time of arrival at screening; length of screening
ALLOCATION: Final = 11  # randomisation: the arm or the block; index = step in the stratum or overall

# --- clinical events: unit exponentials, index = occurrence ---
OPPORTUNISTIC: Final = 20
DEATH: Final = 21
GRADE4: Final = 22
EVENT_CLASS: Final = 23  # uniforms: organ class of a background grade 4 event; reserve
OPPORTUNISTIC_KIND: Final = 24  # uniforms: which disease; reserve
LOSS: Final = 25  # exponentials: loss to follow-up; withdrawal
OPPORTUNISTIC_AGAIN: Final = 27  # uniforms: whether the disease is the earlier one again; reserve
VIRUS_SWITCH: Final = 26  # index = switch; exponential: time to the next switch; reserve

# --- visits: index = position in the arm's list of planned visits ---
VISIT: Final = 30  # uniforms: missed; day within the window (normal)
MEASUREMENT: Final = 31  # uniforms: noise of the CD4 count; of the HIV RNA

# --- cycles ---
OFFER: Final = 40  # index = offer; uniforms: accepted; days of delay to the next contact
CYCLE: Final = 41  # index = cycle; uniforms: injections taken; grade 4 event of this cycle
CYCLE_TOXICITY: Final = 42  # index = cycle; uniforms: grade 3 toxicity; day of the event within the cycle
CYCLE_CLASS: Final = (
    43  # index = cycle; uniforms: organ class of the cycle's grade 4 event; of its grade 3 toxicity
)

# --- episodes that stop cycles: index = switch (even: start, odd: end) ---
PREGNANCY: Final = 50
NO_CONTRACEPTION: Final = 51
OFF_ART: Final = 52

# --- plain event-time trials (no biology): words of 32 bits, not uniforms, where a comment counts words ---
PLAIN_PERSON: Final = 60  # index 0: event time (2 words); gap to the arrival before; dropout
# index 1: country; stratum; simple allocation; place in a large permuted block
PLAIN_BLOCK: Final = (
    61  # index = stratum, person = permuted block // 4: arrangements of four blocks, a word each
)
PLAIN_REPORT: Final = 62  # uniforms: delay of the report of an event; reserve
