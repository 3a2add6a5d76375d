"""How columns are usually called: points from 0 to 1 that a name is a role's."""

from __future__ import annotations

import re
from functools import cache

from storage.interchange.mapping.profile import Column

# Pattern and points, by role; the whole name in small letters, words joined by _.
_NAMES: dict[str, tuple[tuple[str, float], ...]] = {
    "prompt": (
        (r"prompt|messages|instruction|question|query|conversations?|context_messages|contents", 1.0),
        (
            r"user_prompt|prompt_text|input_text|user_input|user_message|human|problem|task|conversation_input|dialog(ue)?|context|post|history|request|source_text|user_query|article|chat",
            0.85,
        ),
        (r"input|inputs|text|body|title|statement|document|content|user|ask|turns|goal|behavior", 0.7),
        (
            r".*(prompt|question|instruction|query).*(?<!_id)(?<!_type)(?<!_source)(?<!_category)(?<!_hash)",
            0.6,
        ),
    ),
    "response": (
        (r"response|completion|answer|output|reply|generation|model_output|model_response", 1.0),
        (
            r"response_text|generated_text|assistant|gpt|prediction|generated|summary|continuation|solution|text_response|bot|llm_response|model_answer|candidate",
            0.85,
        ),
        (r"target|label_text|result|text|content|message", 0.4),
    ),
    "responses": (
        (
            r"responses|completions|answers|outputs|candidates|generations|choices|replies|options|summaries|samples",
            1.0,
        ),
        (
            r"model_outputs|generated_responses|candidate_responses|all_responses|predictions|texts|gen_answers?|model_responses|responses_list|items|solutions|pairs?|model_generations",
            0.85,
        ),
        (r".*(responses|completions|answers|outputs|candidates|generations)", 0.7),
        (r"output|children|comments", 0.6),
    ),
    "rank": (
        (r"rank|ranks|ranking|rankings|position_rank|placement|final_rank|overall_rank", 1.0),
        (r".*_rank(s|ings?)?|ranks?_.*|order", 0.6),
    ),
    "rating": (
        (r"rating|score|reward|ratings|scores|rewards|stars|grade|overall_score|overall|quality", 1.0),
        (r".*(rating|score|reward)s?|points|votes|upvotes|likes|human_score|karma|mos|likert|elo", 0.7),
    ),
    "label": (
        (
            r"label|labels|desirable|is_desirable|thumbs?|thumbs_up|feedback|liked|is_good|good|accepted|preferred|is_chosen|vote|correct|is_correct|binary_label|kto_tag|acceptable|is_preferred|is_safe",
            1.0,
        ),
    ),
    "winner": (
        (
            r"winner|preference|label|labels|choice|verdict|preferred|better|judge?ment|vote|human_preference|decision|overall_preference|overall_pref|outcome|winning_model",
            1.0,
        ),
        (
            r".*(winner|preference|prefer|verdict|choice|better|label|pref|judge?ment|vote|decision|selected|choose|chosen|annotation|selection|comparison|result|probability|prob|winrate|win|pick).*",
            0.75,
        ),
        (r"best(_(response|answer|output|id|index|choice|one))?|safer(_response(_id)?)?", 0.85),
        (r"(score|rating|reward|quality)_(diff|difference|delta|gap|margin)", 0.75),
        (r"annotations?|human|gold|target|rating|score|answer|class|y|p", 0.5),
    ),
    "policy": (
        (
            r"policy|model|model_name|llm|llm_name|generator|policy_name|response_model|completion_model|system_name|source_model|generated_by",
            1.0,
        ),
        (r"models|policies|model_names|generators|model_id|engine|model_type|.*_models?", 0.8),
    ),
    "annotator": (
        (
            r"annotator|annotator_id|judge|rater|evaluator|worker|worker_id|labeler|labeller|user_id|judge_model|annotators|completed_by|coder|judge_id|rater_id|evaluator_id|labeler_id|crowdworker|assessor|respondent|respondent_id|participant|participant_id|subject_id|prolific_(p)?id|reviewer_id|annotator_name|email(_address)?|username|user_name",
            1.0,
        ),
        (r"annotator_.*|.*_annotator|reviewer|expert", 0.6),
    ),
    "id": (
        (
            r"id|prompt_id|question_id|uid|uuid|_id|example_id|row_id|instance_id|post_id|query_id|qid|idx|index|item_id|data_id|sample_id|problem_id|comparison_id|conversation_id|task_id|record_id|key|message_tree_id",
            1.0,
        ),
    ),
    "reference": (
        (
            r"reference|reference_answer|ground_truth|gold_answer|gold|expected_answer|expected|solution|ground_truth_answer|correct_answer|ref|gold_response|target_answer|final_answer|ideal|expected_output|groundtruth|reference_response",
            1.0,
        ),
    ),
    "source": ((r"source|dataset|data_source|origin|source_dataset|dataset_name|provenance", 1.0),),
    "split": ((r"split|data_split|partition|fold", 1.0),),
    "subset": ((r"subset|category|section|domain|task_type|subset_name", 1.0),),
    "group": ((r"judge?ment_id|group|group_id|annotation_id|comparison|hit_id|ranking_id", 1.0),),
    "criterion": ((r"criterion|aspect|dimension|attribute|metric|principle|criteria", 1.0),),
    "note": (
        (
            r"note|notes|comment|comments|rationale|reason|reasoning|justification|explanation|feedback_text|critique",
            1.0,
        ),
    ),
    "seconds": ((r"seconds|duration|time_spent|lead_time|annotation_time|duration_seconds", 1.0),),
}
CRITERIA = re.compile(
    r"^(overall|helpful|correct|coheren|complex|verbos|honest|truth|harmless|safety|safe|quality|fluen|relevan|accura|instruction|"
    r"factual|concise|engag|creativ|clarity|depth|style|consisten|groundedness|informativ|grammar|toxic|usefulness|coverage|faithful)",
    re.IGNORECASE,
)
SINGLE = ("id", "reference", "source", "split", "subset", "annotator", "group", "criterion")


def tokens(name: str) -> frozenset[str]:
    """The words that a column's name is made of."""
    return frozenset(plain(name).split("_"))


@cache
def plain(name: str) -> str:
    """`overallScore`, `Overall Score` and `overall-score` as overall_score."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^\w]+", "_", name.lower()).strip("_")


@cache
def named(role: str, name: str) -> float:
    """Points that a column called `name` has the role."""
    return next((points for pattern, points in _NAMES[role] if re.fullmatch(pattern, name)), 0.0)


OF_ANOTHER = re.compile(r"^(orig|original|raw)_")
TOOL_WORDS = frozenset(("accept", "reject", "ignore"))  # what a person did with a task, and no response
OFTEN_PREFIXED = ("prompt", "response", "rating", "rank", "winner")


def score(role: str, column: Column) -> float:
    """`orig_response` is a response, with fewer points."""
    name = plain(column.name)
    if role == "response" and column.texts and all(text in TOOL_WORDS for text in column.texts):
        return 0.0
    points = named(role, name)
    if role in OFTEN_PREFIXED and (bare := OF_ANOTHER.sub("", name)) != name:
        points = max(points, 0.8 * named(role, bare))
    return points
