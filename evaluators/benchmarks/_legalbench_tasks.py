"""The LegalBench tasks scored by exact match, and how each is asked here (wording of our own).

The names are the hub's configs. What a task's labels are is found in its data, not written here.
"""

from __future__ import annotations

_CONTRACT_NLI = """
confidentiality_of_agreement explicit_identification inclusion_of_verbally_conveyed_information limited_use
no_licensing notice_on_compelled_disclosure permissible_acquirement_of_similar_information permissible_copy
permissible_development_of_similar_information permissible_post-agreement_possession
return_of_confidential_information sharing_with_employees sharing_with_third-parties survival_of_obligations
"""
_CUAD = """
affiliate_license-licensee affiliate_license-licensor anti-assignment audit_rights cap_on_liability
change_of_control competitive_restriction_exception covenant_not_to_sue effective_date exclusivity
expiration_date governing_law insurance ip_ownership_assignment irrevocable_or_perpetual_license
joint_ip_ownership license_grant liquidated_damages minimum_commitment most_favored_nation
no-solicit_of_customers no-solicit_of_employees non-compete non-disparagement non-transferable_license
notice_period_to_terminate_renewal post-termination_services price_restrictions renewal_term
revenue-profit_sharing rofr-rofo-rofn source_code_escrow termination_for_convenience third_party_beneficiary
uncapped_liability unlimited-all-you-can-eat-license volume_restriction warranty_duration
"""
_LEARNED_HANDS = """
benefits business consumer courts crime divorce domestic_violence education employment estates family health
housing immigration torts traffic
"""
_MAUD = """
ability_to_consummate_concept_is_subject_to_mae_carveouts
financial_point_of_view_is_the_sole_consideration accuracy_of_fundamental_target_rws_bringdown_standard
accuracy_of_target_general_rw_bringdown_timing_answer
accuracy_of_target_capitalization_rw_(outstanding_shares)_bringdown_standard_answer
additional_matching_rights_period_for_modifications_(cor)
application_of_buyer_consent_requirement_(negative_interim_covenant)
buyer_consent_requirement_(ordinary_course) change_in_law__subject_to_disproportionate_impact_modifier
changes_in_gaap_or_other_accounting_principles__subject_to_disproportionate_impact_modifier
cor_permitted_in_response_to_intervening_event cor_permitted_with_board_fiduciary_determination_only
cor_standard_(intervening_event) cor_standard_(superior_offer)
definition_contains_knowledge_requirement_-_answer definition_includes_asset_deals
definition_includes_stock_deals fiduciary_exception__board_determination_standard
fiduciary_exception_board_determination_trigger_(no_shop) fls_(mae)_standard
general_economic_and_financial_conditions_subject_to_disproportionate_impact_modifier
includes_consistent_with_past_practice initial_matching_rights_period_(cor)
initial_matching_rights_period_(ftr) intervening_event_-_required_to_occur_after_signing_-_answer
knowledge_definition liability_standard_for_no-shop_breach_by_target_non-do_representatives
ordinary_course_efforts_standard
pandemic_or_other_public_health_event__subject_to_disproportionate_impact_modifier
pandemic_or_other_public_health_event_specific_reference_to_pandemic-related_governmental_responses_or_measures
relational_language_(mae)_applies_to specific_performance tail_period_length type_of_consideration
"""
_OPP115 = """
data_retention data_security do_not_track first_party_collection_use international_and_specific_audiences
policy_change third_party_sharing_collection user_access,_edit_and_deletion user_choice_control
"""
_SUPPLY_CHAIN = """
best_practice_accountability best_practice_audits best_practice_certification best_practice_training
best_practice_verification disclosed_accountability disclosed_audits disclosed_certification
disclosed_training disclosed_verification
"""

_FAMILIES: dict[str, tuple[str, str]] = {
    "contract_nli_": (
        _CONTRACT_NLI,
        "The text is part of a non-disclosure agreement. Does it provide for the following: {topic}?",
    ),
    "cuad_": (_CUAD, "Is the clause of the kind that contract lawyers call '{topic}'?"),
    "learned_hands_": (
        _LEARNED_HANDS,
        "A member of the public wrote the post below. Does it raise a legal question in this area: {topic}?",
    ),
    "maud_": (
        _MAUD,
        "The text is part of a merger agreement. Decide how it treats this point: {topic}.",
    ),
    "opp115_": (_OPP115, "Does the clause of the privacy policy concern the following: {topic}?"),
    "supply_chain_disclosure_": (
        _SUPPLY_CHAIN,
        "A company published the statement below on slavery and trafficking in its supply chain. "
        "Does it meet this criterion: {topic}?",
    ),
}

_DIVERSITY = (
    "Is diversity jurisdiction of a United States federal court given? It needs complete diversity (no "
    "plaintiff is from the same state as any defendant) and more than $75,000 in controversy: a plaintiff "
    "may add up the claims against one defendant, not claims against different defendants."
)
_SINGLE: dict[str, str] = {
    "abercrombie": "How distinctive is the trademark for the product, on the scale of Abercrombie & Fitch?",
    "canada_tax_court_outcomes": "How did the appeal to the Tax Court of Canada end for the taxpayer?",
    "citation_prediction_classification": "Does the cited case support the text?",
    "consumer_contracts_qa": "Answer the question about the terms of service.",
    "contract_qa": "Answer the question about the contract clause.",
    "corporate_lobbying": "Is the bill likely to be relevant to the company, so that it would lobby on it?",
    "definition_classification": "Does the sentence define a term?",
    **{f"diversity_{number}": _DIVERSITY for number in range(1, 7)},
    "function_of_decision_section": "Which function has the paragraph in the judicial decision?",
    "hearsay": "Is the evidence hearsay: a statement made out of court, offered to prove that it is true?",
    "insurance_policy_interpretation": "Does the policy cover the claim? (A: yes, B: no, C: ambiguous)",
    "international_citizenship_questions": "Answer the question about citizenship law.",
    "jcrew_blocker": "Does the provision of the loan agreement contain a J.Crew blocker?",
    "legal_reasoning_causality": "Does the passage rely on statistical or direct evidence of causality?",
    "nys_judicial_ethics": "Answer the question of judicial ethics under the rules of New York State.",
    "oral_argument_question_purpose": "Which purpose has the judge's question in the oral argument?",
    "overruling": "Does the sentence overrule an earlier decision?",
    "personal_jurisdiction": "Does the forum state's court have personal jurisdiction over the defendant?",
    "privacy_policy_entailment": "Is the description of the privacy policy clause correct?",
    "privacy_policy_qa": "Is the clause of the privacy policy relevant to the question?",
    "proa": "Does the statute contain a private right of action?",
    "sara_entailment": "Does the statute entail the statement about the case?",
    "scalr": "Which statement is the holding of the Supreme Court on the question? Give its number.",
    "successor_liability": "Which grounds make the buyer liable as a successor? Name all that apply.",
    "telemarketing_sales_rule": "Answer the question under the Telemarketing Sales Rule (16 C.F.R. 310).",
    "textualism_tool_dictionaries": "Does the paragraph rely on a dictionary to interpret a statute?",
    "textualism_tool_plain": "Does the paragraph rely on the plain meaning of the statute's words?",
    "ucc_v_common_law": "Which law governs the contract: the Uniform Commercial Code or the common law?",
    "unfair_tos": "Which kind of potentially unfair term, if any, does the clause contain?",
}


def _topic(name: str) -> str:
    return " ".join(name.replace("_-_answer", "").removesuffix("_answer").replace("_", " ").split())


# task -> the question put before its fields
INSTRUCTIONS: dict[str, str] = dict(
    sorted(
        {
            **_SINGLE,
            **{
                f"{prefix}{name}": question.format(topic=_topic(name))
                for prefix, (names, question) in _FAMILIES.items()
                for name in names.split()
            },
        }.items()
    )
)

# Their options are neither in the rows nor in the name: asked only with the task's own prompt text.
NEEDS_PROMPT_TEXT = frozenset(name for name in INSTRUCTIONS if name.startswith("maud_"))

# Several labels may hold at once.
SEVERAL_LABELS = frozenset({"successor_liability"})
