"""GLSL of surfaces, one program for each group of materials.

The software renderer runs both sides of every branch, so a program that knew all materials would pay
for all of them in every pixel.
"""

from __future__ import annotations

from cooptrack_core.data.synthetic import mesh
from cooptrack_core.data.synthetic.shaders import SKY_LIGHT

_HEAD = (
    """
#version 330
in vec3 v_position; in vec3 v_normal; in vec3 v_colour; in vec2 v_uv;
flat in float v_material; flat in float v_extra;
uniform vec3 u_eye; uniform vec3 u_paint; uniform float u_braking; uniform float u_fog;
uniform float u_ambient; uniform float u_glow;
uniform sampler2DShadow u_near_shadow; uniform sampler2DShadow u_far_shadow;
uniform mat4 u_near_from_scene; uniform mat4 u_far_from_scene;
out vec4 f_colour;
"""
    + SKY_LIGHT
    + """
struct Surface { vec3 albedo; vec3 normal; float gloss; float reflect; vec3 glow; float wrap; };

// Share of a pixel of this width covered by [0, width) of every unit cell (box filter).
vec2 covered(vec2 x, vec2 width, vec2 f) {
    vec2 a = x - 0.5 * f, b = x + 0.5 * f;
    return clamp((floor(b) * width + min(fract(b), width) - floor(a) * width - min(fract(a), width)) / f, 0.0, 1.0);
}
float covered(float x, float width, float f) { return covered(vec2(x), vec2(width), vec2(f)).x; }
vec2 pixel(vec2 q) { return fwidth(q) + 1e-4; }
float hash(vec2 p) {
    vec2 q = fract(p * vec2(0.1031, 0.1130));
    q += dot(q, q.yx + 33.33);
    return fract((q.x + q.y) * q.x);
}
float within(float x, float low, float high, float f) {
    return smoothstep(low, low + f, x) * (1.0 - smoothstep(high, high + f, x));
}

float shadow(vec3 p, vec3 n) {
    vec3 s = (u_near_from_scene * vec4(p + n * 0.05, 1.0)).xyz;
    float r = 1.25 / float(textureSize(u_near_shadow, 0).x), z = s.z - 0.0003;
    float near = 0.25 * (texture(u_near_shadow, vec3(s.xy + vec2(-r, -0.4 * r), z))
        + texture(u_near_shadow, vec3(s.xy + vec2(0.4 * r, -r), z))
        + texture(u_near_shadow, vec3(s.xy + vec2(r, 0.4 * r), z))
        + texture(u_near_shadow, vec3(s.xy + vec2(-0.4 * r, r), z)));
    vec2 e = abs(s.xy - 0.5);
    s = (u_far_from_scene * vec4(p + n * 0.3, 1.0)).xyz;
    vec2 g = abs(s.xy - 0.5);
    float far = max(g.x, g.y) > 0.495 ? 1.0 : texture(u_far_shadow, vec3(s.xy, s.z - 0.001));
    return max(e.x, e.y) < 0.49 ? near : far;
}
"""
)

_TAIL = """
void main() {
    Surface s = Surface(v_colour * v_colour, normalize(v_normal), 0.0, 0.0, vec3(0.0), 0.0);
    surface(s);
    vec3 d = v_position - u_eye;
    float distance_m = length(d);
    d /= distance_m;
    s.normal = dot(s.normal, d) > 0.0 ? -s.normal : s.normal;
    float sun = dot(s.normal, u_sun);
    float direct = mix(max(sun, 0.0), clamp((sun + 0.55) / 1.55, 0.0, 1.0), s.wrap);
    float lit = shadow(v_position, s.normal);
    vec3 ambient = mix(vec3(0.20, 0.19, 0.18), mix(u_horizon, u_zenith, 0.45), 0.5 + 0.5 * s.normal.z) * 0.66;
    ambient *= u_ambient;
    ambient *= OCCLUSION;
    vec3 colour = s.albedo * (u_sun_colour * direct * lit + ambient) + s.glow * u_glow;
#ifdef GLOSSY
    vec3 r = reflect(d, s.normal);
    float c = 1.0 - max(-dot(s.normal, d), 0.0);
    float f = s.reflect + (1.0 - s.reflect) * 0.9 * c * c * c * c * c;
    // Below the roof lines of the street a mirror shows houses and road rather than sky.
    vec3 mirror = mix(vec3(0.17, 0.165, 0.16) * u_ambient, sky_light(r), smoothstep(0.02, 0.34, r.z));
    float m = max(dot(r, u_sun), 0.0);
    m *= m; m *= m; m *= m; m *= m; m *= m; m *= m;
    colour = mix(colour, mirror, f * s.gloss) + u_sun_colour * (lit * s.gloss * 1.4 * m);
#endif
    float haze = 1.0 - exp(-distance_m * u_fog);
    f_colour = vec4(tone(mix(colour, sky_light(vec3(d.xy, 0.03)), haze)), 1.0);
}
"""

_PLAIN = """
#define GLOSSY
#define OCCLUSION (0.60 + 0.40 * clamp(v_position.z / 1.2, 0.0, 1.0))
void surface(inout Surface s) {
    float k = v_material;
    float painted = float(k == 1.0 || k == 11.0 || k == 15.0);
    s.albedo *= mix(vec3(1.0), u_paint * u_paint, painted);
    float glass = float(k == 2.0), metal = float(k == 10.0), lamp = float(k == 3.0);
    float coat = float(k == 1.0 || k == 15.0);
    s.gloss = coat * 0.85 + glass + metal * 0.6 + lamp * 0.5;
    s.reflect = coat * 0.05 + glass * 0.10 + metal * 0.15 + lamp * 0.05;
    float brake = float(v_extra > 0.5 && v_extra < 1.5);
    s.glow = s.albedo * lamp * mix(v_extra, 0.10 + 1.8 * u_braking, brake);
}
"""

_ASPHALT = """
#define OCCLUSION 1.0
void surface(inout Surface s) {
    vec2 p = v_position.xy;
    vec4 fine = texture(u_noise, p * 0.9), broad = texture(u_noise, p * 0.023), mid = texture(u_noise, p * 0.131 + 0.3);
    vec3 c = vec3(0.115, 0.115, 0.118) * (0.80 + 0.24 * fine.r + 0.16 * (broad.g - 0.5) + 0.07 * (mid.b - 0.5));
    vec2 a = abs(p);
    float v = a.x > a.y ? a.y : a.x;
    float lane = fract((v - 0.2) / 3.4);
    float t = (abs(lane - 0.5) - 0.25) * 8.0;
    float arm = float(max(a.x, a.y) > 15.0 && v < 10.4) * (1.0 - v_extra);
    c *= 1.0 - arm * (0.14 * max(1.0 - t * t, 0.0) + 0.10 * max(1.0 - abs(lane - 0.5) * 9.0, 0.0) * broad.b);
    float crack = abs(broad.r - 0.5) + 0.35 * abs(mid.g - 0.5);
    c *= 1.0 - 0.24 * (1.0 - smoothstep(0.0, 0.012, crack));
    s.albedo = c * v_colour;
}
"""

_PAVING = """
#define OCCLUSION 1.0
void surface(inout Surface s) {
    vec2 q = v_position.xy / 0.6, f = pixel(q);
    vec2 stone = covered(q, vec2(0.95), f);
    float detail = 1.0 / (1.0 + 3.0 * max(f.x, f.y));
    vec4 dirt = texture(u_noise, v_position.xy * 0.06);
    s.albedo *= 0.86 + 0.40 * (dirt.r - 0.5) + 0.22 * (hash(floor(q)) - 0.5) * detail;
    s.albedo *= 1.0 - 0.42 * (1.0 - stone.x * stone.y) * detail;
}
"""

_GRASS = """
#define OCCLUSION 1.0
void surface(inout Surface s) {
    vec4 broad = texture(u_noise, v_position.xy * 0.06), fine = texture(u_noise, v_position.xy * 0.7);
    s.albedo *= 0.50 + 0.45 * broad.r + 0.55 * fine.g;
    s.wrap = 0.4;
}
"""

_FOLIAGE = """
#define OCCLUSION 1.0
void surface(inout Surface s) {
    vec4 n = texture(u_noise, v_position.xy * 0.31 + v_position.z * vec2(0.23, 0.17));
    s.albedo *= 0.55 + 0.55 * n.r + 0.25 * n.g;
    s.wrap = 0.75;
}
"""

_MARKING = """
#define OCCLUSION 1.0
void surface(inout Surface s) {
    vec4 n = texture(u_noise, v_position.xy * 0.6), b = texture(u_noise, v_position.xy * 0.11);
    s.albedo *= 0.80 + 0.30 * n.r - 0.45 * smoothstep(0.60, 0.95, 0.65 * b.g + 0.35 * n.b);
}
"""

_FACADE = """
#define GLOSSY
#define OCCLUSION (0.75 + 0.25 * clamp(v_position.z / 3.0, 0.0, 1.0))
void surface(inout Surface s) {
    float style = floor(v_extra), seed = fract(v_extra);
    // cell size, share that the window takes; one column a style
    vec4 form = style < 1.0 ? vec4(3.1, 3.0, 0.56, 0.52) : style < 2.0 ? vec4(2.4, 3.1, 0.48, 0.58)
        : style < 3.0 ? vec4(1.5, 3.6, 0.95, 0.86) : style < 4.0 ? vec4(4.2, 3.3, 0.92, 0.46)
        : vec4(1.9, 3.3, 0.56, 0.74);
    form.x *= 0.9 + 0.25 * seed;
    vec2 q = v_uv / form.xy, f = pixel(q), w = q - 0.5 * (1.0 - form.zw);
    vec2 open = covered(w, form.zw, f), inner = covered(w - vec2(0.030, 0.022), form.zw - vec2(0.060, 0.044), f);
    float window = open.x * open.y, pane = inner.x * inner.y;
    float half_ = covered(w.x - 0.5 * form.z + 0.012, 0.024, f.x);
    pane *= 1.0 - (style < 2.0 ? half_ : 0.0);
    vec4 dirt = texture(u_noise, v_uv * vec2(0.031, 0.017) + seed);
    vec3 wall = s.albedo * (0.80 + 0.30 * dirt.r);
    vec2 b = v_uv / vec2(0.50, 0.17), bf = pixel(b);
    b.x += 0.5 * mod(floor(b.y), 2.0);
    vec2 brick = covered(b, vec2(0.94, 0.86), bf);
    float detail = 1.0 / (1.0 + 2.0 * max(bf.x, bf.y));
    float is_brick = float(style >= 1.0 && style < 2.0);
    wall *= 1.0 + is_brick * detail * (0.40 * (hash(floor(b)) - 0.5) + 0.35 * (1.0 - brick.x * brick.y));
    wall *= 1.0 - (1.0 - is_brick) * 0.22 * covered(q.y, 0.045, f.y);
    vec3 frame = style < 1.0 ? vec3(0.55) : style < 2.0 ? vec3(0.40, 0.38, 0.35) : vec3(0.06, 0.065, 0.07);
    float number = hash(floor(w) + floor(seed * 977.0));
    vec2 at = fract(w) / form.zw;
    float curtain = float(number > 0.5 && style < 2.0) * step(at.y, 1.0) * step(1.0 - 0.7 * fract(number * 17.0), at.y);
    vec3 room = mix(vec3(0.022, 0.026, 0.03) + 0.05 * fract(number * 5.0), vec3(0.34, 0.32, 0.28), curtain);
    room = mix(room, vec3(0.55, 0.44, 0.26), float(fract(number * 31.0) > 0.93) * 0.5);
    room *= 1.0 - 0.6 * smoothstep(0.75, 1.0, at.y);
    bool tower = style >= 2.0 && style < 3.0;
    s.albedo = mix(mix(wall, frame, window), room, pane);
    s.gloss = pane;
    s.reflect = (tower ? 0.50 : 0.22) * (0.6 + 0.4 * number);
    s.normal = normalize(s.normal + pane * 0.014 * (vec3(number, fract(number * 7.0), fract(number * 13.0)) - 0.5));
}
"""

_SHOP = """
#define GLOSSY
#define OCCLUSION (0.7 + 0.3 * clamp(v_position.z / 2.0, 0.0, 1.0))
void surface(inout Surface s) {
    float seed = fract(v_extra * 7.31), bay = 4.2 + 2.0 * seed;
    vec2 q = vec2(v_uv.x / bay, v_uv.y), f = pixel(q);
    float id = floor(q.x) + floor(seed * 91.0);
    float glassy = covered(q.x - 0.04, 0.92, f.x) * within(q.y, 0.40, 2.75, f.y);
    float mullion = covered(v_uv.x / (bay / 3.0) + 0.02, 0.04, f.x * 3.0);
    float sign = within(q.y, 2.95, 3.85, f.y) * covered(q.x - 0.03, 0.94, f.x);
    vec3 hue = 0.5 + 0.5 * cos(6.283 * (hash(vec2(id, 2.0)) + vec3(0.0, 0.33, 0.67)));
    vec3 board = mix(vec3(0.16), hue * hue, 0.38) * 0.55;
    vec2 letter = vec2(v_uv.x / 0.5, (q.y - 3.2) / 0.42);
    float text = covered(letter.x, 0.66, f.x * bay / 0.5) * within(letter.y, 0.0, 0.9, 0.1)
        * float(abs(fract(q.x) - 0.5) < 0.30) * float(hash(floor(letter * vec2(2.0, 3.0)) + id) > 0.35);
    board = mix(board, vec3(0.80, 0.76, 0.66), text);
    vec4 things = texture(u_noise, v_uv * 0.19 + id * 0.37);
    vec3 inside = mix(vec3(0.055, 0.05, 0.045), hue * hue * 0.16, 0.4) * (0.3 + 1.6 * things.r * things.r);
    inside += vec3(0.12, 0.10, 0.06) * smoothstep(1.2, 2.6, q.y);
    s.albedo = mix(s.albedo * 0.7, mix(inside, vec3(0.05), mullion), glassy);
    s.albedo = mix(s.albedo, board, sign);
    s.glow = board * sign * 0.16 + inside * glassy * 0.20;
    s.gloss = glassy * (1.0 - mullion); s.reflect = 0.16;
}
"""

_GROUPS = (
    (_ASPHALT, (mesh.ASPHALT,)), (_PAVING, (mesh.PAVING,)), (_GRASS, (mesh.GRASS,)), (_FACADE, (mesh.FACADE,)),
    (_SHOP, (mesh.SHOP,)), (_FOLIAGE, (mesh.FOLIAGE,)), (_MARKING, (mesh.MARKING,)),
)  # fmt: skip

PLAIN_GROUP = len(_GROUPS)
GROUP_COUNT = PLAIN_GROUP + 1


def group_of_material() -> dict[int, int]:
    """Program of each material; materials that are not listed belong to PLAIN_GROUP."""
    return {material: group for group, (_, materials) in enumerate(_GROUPS) for material in materials}


def fragment(group: int) -> str:
    """Fragment shader of a group."""
    middle = _PLAIN if group == PLAIN_GROUP else _GROUPS[group][0]
    return _HEAD + middle + _TAIL


__all__ = ["GROUP_COUNT", "PLAIN_GROUP", "fragment", "group_of_material"]
